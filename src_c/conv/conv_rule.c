/* Which algorithm a convolution takes: a rule of one image's shape, frozen, since it decides bits. */
#include <math.h>

#include "base/geometry.h"
#include "dense/winograd_tiles.h"

/* Groups this narrow would leave most lanes of a dense panel empty: the lanes hold groups instead.  Up to 8 channels a
 * group that was the faster way on every layer tried (32 groups of 4: 3.4 times). */
enum { NARROW = 8 };

static int direct_can(const ck_conv_shape *s) {
  return s->groups > 1 && (s->c_in == 1 || (s->c_in <= NARROW && s->c_out <= NARROW));
}

/* A gradient of x, or a transposed convolution, by way of its columns takes one product at each position of y for all
 * phases and taps, and in panels that are full; the engine takes some at each output of every phase, padding too, as if
 * there were a few channels more, of which two phases side by side share the cost, and rows a little longer, and stores
 * each phase that has a tap apart from the others. But columns have to be added up, row by row, a box of many taps has
 * few rows, which share those that reach beyond them with the next box, and to begin takes longer. Returned is the
 * share of implicit_gemm's time, counted in products. Fitted to random layers and gradients, with AVX-512 and AVX2 (one
 * thread of a Zen 4): of 993 like those of `convkit bench --sweep` the rule takes 1.034 and 1.032 times as long as
 * always the faster way, of 6,531 of any shape, most of them below 100 us, 1.027 and 1.036; never columns
 * takes 1.17, 1.09, 1.09 and 1.04, at worst 13. The worst are calls of some us, and kernels of hundreds of taps on few
 * positions. Columns of a kernel much smaller than its stride are mostly rows of zeros: of more than eight phases a tap
 * there was no layer to fit to.
 * Those figures are without what follows, which changes little where positions are many. Of few, implicit_gemm packs
 * weights for hardly a product each, and leaves out taps which no output has. Fitted to 13,000 transposed convolutions
 * of 1 to 14 squared positions (AVX2, one thread of a Zen 3): the rule takes 1.06 times as long as always the faster
 * way for one image, 1.02 for 4, 1.04 for 32; without it 1.16, 1.08, 1.03. */
enum { ADDED_PRODUCTS = 48, ROW_PRODUCTS = 390, STORED_PRODUCTS = 30, CALL_PRODUCTS = 60000, PACKED_PRODUCTS = 4 };
enum { MOST_PHASES = 8, BOX_ELEMENTS = 50000, BOX_ROWS = 128 }; /* for each tap; of columns, and how many those are */
static const double COLUMN_PRODUCTS = 1.16, MORE_CHANNELS = 6.5, MORE_OF_ROWS = 0.17;

/* How many times more positions the boxes of columns have than y: of the rows that reach a box, some reach two. */
static double positions_again(const ck_conv_shape *s) {
  const double beside = (double)(s->kernel[1] - 1) * (double)s->dilation[1] / (double)s->stride[1];
  const double rows = BOX_ELEMENTS / ((double)s->out[2] * fmax((double)ck_taps_of(s->kernel), BOX_ROWS));
  return rows < (double)s->out[1] ? fmin(2, beside / fmax(rows, 0.5)) : 0;
}

/* Taps of an axis by which some position reaches an element of x: of few positions padding cuts all others off. */
static int64_t taps_in_reach(const ck_conv_shape *s, int axis) {
  const int64_t stride = s->stride[axis];
  int64_t taps = 0;
  for (int64_t t = 0; t < s->kernel[axis]; t++) {
    const int64_t at = t * s->dilation[axis] - s->pad_lo[axis], first = ck_max(0, ck_ceil_div(-at, stride));
    taps += first < s->out[axis] && at + first * stride < s->in[axis];
  }
  return taps;
}

static double columns_share(const ck_conv_shape *s) {
  const double sums = (double)s->c_out, taps = (double)ck_taps_of(s->kernel), step = (double)s->stride[2];
  const double begin = CALL_PRODUCTS / (double)s->c_in;
  double phases = 1, tapped = 1, positions = 1, outputs = 1, reach = 1;
  for (int i = 0; i < 3; i++) {
    const int64_t with_tap = ck_min(s->kernel[i], s->stride[i] / ck_gcd(s->stride[i], s->dilation[i]));
    phases *= (double)ck_min(s->stride[i], s->in[i]);
    tapped *= (double)ck_min(with_tap, s->in[i]);
    positions *= (double)s->out[i];
    outputs *= (double)s->in[i];
    reach *= (double)taps_in_reach(s, i);
  }
  const double columns = COLUMN_PRODUCTS * (1 + positions_again(s)) * positions * taps * (sums + ADDED_PRODUCTS);
  const double rows = ROW_PRODUCTS * (double)s->in[0] * (double)s->in[1];
  const double each = outputs / phases; /* of a phase */
  const double stored = phases > 1 ? STORED_PRODUCTS * each * tapped : 0;
  const double more = MORE_CHANNELS / ((double)s->c_in * (step > 1 ? 2 : 1)) + MORE_OF_ROWS * step / (double)s->in[2];
  return taps * MOST_PHASES < phases
             ? 1
             : (begin + columns + rows) / ((each * (1 + more) + PACKED_PRODUCTS) * reach * sums + stored);
}

/* Of padding that repeats elements, boxes of columns need positions from afar. */
static int columns_may(const ck_conv_shape *s, ck_conv_op op) {
  int64_t padding = 0;
  for (int i = 0; i < 3; i++)
    padding |= s->pad_lo[i] | s->pad_hi[i];
  return (op == CK_GRAD_X || op == CK_TRANSPOSED) && (s->padding_mode == CK_ZEROS || padding == 0);
}

static int winograd_can(const ck_conv_shape *s) {
  return s->kernel[0] > 0 && s->kernel[1] == 3 && s->kernel[2] == 3 && s->stride[0] == 1 && s->stride[1] == 1 &&
         s->stride[2] == 1;
}

/* The share of implicit_gemm's time, counted in outputs of it: a phase (of a dilated kernel) for its weights and its
 * few rows, a tile for its products, and for transforms, which channels share. Fitted to 9,000 random layers: 3 to 40
 * wide of 5 to 400 channels, larger ones of few, and volumes; 1 to 32 images, all operators, both dtypes; one thread of
 * a Zen 4, AVX-512 and AVX2. On 2,953 others the rule takes 1.016 times as long as always the faster way, at worst 1.9
 * (timed again); the one before, 16 channels and four half-full tiles, took 1.054, at worst 2.9. */
enum { PHASE_OUTPUTS = 12, TILE_OUTPUTS = 3, TRANSFORM_OUTPUTS = 60, WEIGHT_TRANSFORM_OUTPUTS = 40 };

static double winograd_share(const ck_conv_shape *s, ck_conv_op op) {
  const int64_t *outputs = op == CK_GRAD_X || op == CK_TRANSPOSED ? s->in : s->out;
  const int of_weight = op == CK_GRAD_WEIGHT || op == CK_TRANSPOSED_GRAD_WEIGHT;
  const double transform = of_weight ? WEIGHT_TRANSFORM_OUTPUTS : TRANSFORM_OUTPUTS;
  double positions = (double)outputs[0], tiles = positions; /* of the smallest phase, and of the largest */
  for (int i = 1; i < 3; i++) {
    const int64_t least = outputs[i] / s->dilation[i], most = least + (outputs[i] % s->dilation[i] > 0);
    positions *= (double)least;
    tiles *= (double)ck_ceil_div(most, CK_WINOGRAD_TILE);
  }
  const double transforms = transform * (1 / (double)s->c_in + 1 / (double)s->c_out) / (double)s->kernel[0];
  return (PHASE_OUTPUTS + tiles * (TILE_OUTPUTS + transforms)) / positions;
}

/* The share of nothing is infinite or NaN: not less than 1. */
int ck_conv_rule(const ck_conv_shape *s, ck_conv_op op) {
  if (direct_can(s))
    return CK_DIRECT;
  const double columns = columns_may(s, op) ? columns_share(s) : 1;
  const double winograd = winograd_can(s) ? winograd_share(s, op) : 1;
  if (columns < 1 && !(winograd < columns))
    return CK_IM2COL;
  return winograd < 1 ? CK_WINOGRAD : CK_IMPLICIT_GEMM;
}

ck_status ck_conv_supports(const ck_conv_shape *shape, int algorithm) {
  int can = algorithm == CK_DIRECT ? direct_can(shape) : algorithm != CK_WINOGRAD || winograd_can(shape);
  return can ? CK_OK : CK_UNSUPPORTED;
}
