"""Words, numbers and pictures about a model and its proof. Nothing here is trusted.

`case` finds the files and asks the kernel, `mechanism` estimates how the network adds, `figures` draws, `page` writes
the report. What the kernel did not prove is called an estimate wherever it appears.
"""
