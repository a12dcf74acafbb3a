"""Named limits: every size and exponent is checked against one of these before flint or memory sees it."""

MODEL_BYTES = 1 << 30
HEADER_BYTES = 1 << 20
CERTIFICATE_BYTES = 1 << 25
CLAIM_BYTES = 1 << 16
JSON_DEPTH = 12
JSON_DIGITS = 15  # below 2^53: readers that keep numbers in binary64 read them exactly
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

DIRECTIONS = 64
DIRECTION = 1 << 24  # an entry of a direction is at most 16 in size
HARMONICS = 8
OUTPUT_HARMONICS = 4
FAMILIES = 256
NODES = 4096
AMPLITUDE = 1 << 32
AMPLITUDE_EXPONENT = 1200
LISTED_INPUTS = 256

# Work and memory, bounded by the sizes before it starts. Reports say which of them a check came near.
FOLD_WORK = 1 << 30  # multiply-adds of folding, attention included, whatever the model's size; or, if that is more,
FOLD_PER_NUMBER = 1 << 14  # so many for every number in the model file
HELD = 1 << 24  # numbers held at once, for all inputs or all tokens, whatever the model's size; or, if that is more,
HELD_PER_NUMBER = 1 << 7  # so many for every number in the model file
WEIGHT_WORK = 20  # multiply-adds that an attention weight at one input takes as long as
INPUT_TABLES = 10  # numbers held for every input besides its lanes
PROFILE_WORK = 1 << 30  # families times p times nodes times harmonics
EVENTS_PER_ENTRY = 64  # events, per entry of A and B, of a linear check
LANE_BYTES = 1 << 31  # sums of all inputs held at once: 8 bytes times p² times lanes
EXACT_LOGITS = 1 << 27  # p² times q of the exact strategy
SUM_WORK = 1 << 38  # additions of Lemma E: (events + p² times orders) times lanes

PHASE_BITS = 32  # a phase is an integer multiple of 2^-32 turn
PROFILE_BITS = 24  # a profile coefficient or DC term is an integer multiple of 2^-24
PROFILE = 8 << PROFILE_BITS
DIRECTION_BITS = 20  # an entry of a direction is an integer multiple of 2^-20

PRE_BITS = 26  # the largest quantised pre-activation summand is below 2^26
OUT_BITS = 26  # the largest quantised output weight is below 2^26
SUM_BITS = 60  # a sum over neurons is below 2^60
TABLE_BITS = 30  # sines and cosines are integer multiples of 2^-30
PRECISION = 128  # of balls, in bits
MOMENTS = 128  # of the harmonic method: modes |m| <= MOMENTS
FULL_PRODUCT = 128  # up to this p all margins come from one exact product; beyond, from discs and a few of them
