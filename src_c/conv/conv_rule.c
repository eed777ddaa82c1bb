/* Which algorithm a convolution takes: a rule of one image's shape, frozen, since it decides bits. */
#include "base/geometry.h"
#include "dense/winograd_plan.h"

/* Groups this narrow would leave most lanes of a dense panel empty: the lanes hold groups instead.  Up to 8 channels a
 * group that was the faster way on every layer tried (32 groups of 4: 3.4 times). */
enum { NARROW = 8 };

static int direct_can(const ck_conv_shape *s) {
  return s->groups > 1 && (s->c_in == 1 || (s->c_in <= NARROW && s->c_out <= NARROW));
}

/* A gradient of x, or a transposed convolution, by way of its columns: one product for all phases and taps, whose
 * panels are full where few channels leave others empty; then all of it is added, element by element, which few sums do
 * not repay. It gains with the phases, of which each sees few taps, and where outputs read much padding, as when a
 * small gradient without padding makes a larger image. On 2,500 random layers (Zen 3, one thread) the rule takes 1.039
 * times as long as always the faster way; columns wherever there are 16 phases or more take 1.097, nowhere 1.087, and
 * one layer 167 times as long. */
enum { FEW_CHANNELS = 6, MANY_PHASES = 16, SUMS_OF_PHASES = 1536, MANY_SUMS = 48, FEW_POSITIONS = 4 };
static const double MUCH_PADDING = 1.25;

static int columns_pay(const ck_conv_shape *s) {
  const double sums = (double)s->c_out;
  double phases = 1, positions = 1, outputs = 1;
  for (int i = 0; i < 3; i++) {
    phases *= (double)ck_min(s->stride[i], s->in[i]);
    positions *= (double)s->out[i];
    outputs *= (double)s->in[i];
  }
  return s->c_in <= FEW_CHANNELS && positions >= FEW_POSITIONS &&
         ((phases >= MANY_PHASES && phases * sums >= SUMS_OF_PHASES) ||
          (sums >= MANY_SUMS && outputs >= MUCH_PADDING * phases * positions));
}

static int winograd_can(const ck_conv_shape *s) {
  return s->kernel[0] > 0 && s->kernel[1] == 3 && s->kernel[2] == 3 && s->stride[0] == 1 && s->stride[1] == 1 &&
         s->stride[2] == 1;
}

/* Fewer channels leave vectors of them empty; fewer tiles are too few rows for the weights that have to be transformed,
 * and tiles that lie beyond the image by half cost more than they save. With AVX2 layers within these bounds took 0.35
 * to 0.6 of implicit_gemm's time, 8 images or 1; gradients of the weight 0.4 to 0.65, and of one image of 7x7 0.9. */
enum { FEWEST_CHANNELS = 16, FEWEST_TILES = 4, TILE_OUTPUTS = 8 };

static int winograd_pays(const ck_conv_shape *s, ck_conv_op op) {
  const int64_t *outputs = op == CK_GRAD_X || op == CK_TRANSPOSED ? s->in : s->out;
  if (!winograd_can(s) || s->c_in < FEWEST_CHANNELS || s->c_out < FEWEST_CHANNELS)
    return 0;
  int64_t y = outputs[1] / s->dilation[1], x = outputs[2] / s->dilation[2]; /* of a phase */
  int64_t rows = ck_ceil_div(y, CK_WINOGRAD_TILE), columns = ck_ceil_div(x, CK_WINOGRAD_TILE);
  return ck_min(rows, FEWEST_TILES) * ck_min(columns, FEWEST_TILES) >= FEWEST_TILES &&
         (double)y * (double)x >= TILE_OUTPUTS * (double)rows * (double)columns;
}

int ck_conv_rule(const ck_conv_shape *s, ck_conv_op op) {
  if (direct_can(s))
    return CK_DIRECT;
  if (winograd_pays(s, op))
    return CK_WINOGRAD;
  return (op == CK_GRAD_X || op == CK_TRANSPOSED) && columns_pay(s) ? CK_IM2COL : CK_IMPLICIT_GEMM;
}

ck_status ck_conv_supports(const ck_conv_shape *shape, int algorithm) {
  int can = algorithm == CK_DIRECT ? direct_can(shape) : algorithm != CK_WINOGRAD || winograd_can(shape);
  return can ? CK_OK : CK_UNSUPPORTED;
}
