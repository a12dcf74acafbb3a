"""Named limits: every size and exponent is checked against one of these before flint or memory sees it."""

MODEL_BYTES = 1 << 30
HEADER_BYTES = 1 << 20
CERTIFICATE_BYTES = 1 << 27
CLAIM_BYTES = 1 << 16
JSON_DEPTH = 12
JSON_DIGITS = 30
TEXT = 1 << 16

MODULUS = 4096
NEURONS = 1 << 16
OUTPUTS = 1 << 14
VOCABULARY = 1 << 14
WIDTH = 1 << 13
HEADS = 1 << 8
POSITIONS = 64
RATIONAL = 1 << 20  # numerator and denominator of an attention weight
EXPONENT_64 = 400  # binary64 weights must be zero or between 2^-400 and 2^400

HARMONICS = 8
SHELLS = 16
CELLS = 1 << 14
CELL_WORK = 1 << 30  # harmonics of all families, times p offsets, times cells
OUTLIER_COST = 8  # outliers may cost p² inputs each, at most so many times the parameters in all
OUTPUT_FREQUENCIES = 64
CRITICAL_OFFSETS = 64
AMPLITUDE_EXPONENT = 1200
LISTED_INPUTS = 256
REFINEMENT_BUDGET = 1 << 20

EXHAUSTIVE_OPERATIONS = 20_000_000_000  # multiply-adds of the exhaustive strategy

PHASE_BITS = 32  # a phase is an integer multiple of 2^-32 turn
PROFILE_BITS = 24  # a profile coefficient, DC term or shell is an integer multiple of 2^-24
PROFILE = 8 << PROFILE_BITS
AMPLITUDE = 1 << 32

PRE_BITS = 26  # the largest quantised pre-activation summand is below 2^26
OUT_BITS = 26  # the largest quantised output weight is below 2^26
TABLE_BITS = 30  # sines and cosines are integer multiples of 2^-30, off by at most one unit
PRECISION = 128  # of balls, in bits
MOMENTS = 128  # of the harmonic method: modes |m| <= MOMENTS
