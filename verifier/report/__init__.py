"""Words, numbers and pictures about a model and its proof. Nothing here is trusted.

`subject` finds the files, `facts` estimates the mechanism in float64, `bounds` asks the kernel, `figures` draws,
`page` writes the report. What the kernel did not prove is called an estimate wherever it appears.
"""
