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

/* Counted in outputs of the engine that take as long: a phase (of a dilated kernel) for its weights and its few rows, a
 * tile for its products, and for transforms, which channels share. Fitted to 9,000 random layers: 3 to 40 wide of 5 to
 * 400 channels, larger ones of few, and volumes; 1 to 32 images, all operators, both dtypes; one thread of a Zen 4,
 * AVX-512 and AVX2. On 2,953 others the rule takes 1.016 times as long as always the faster way, at worst 1.9 (timed
 * again); the one before, 16 channels and four half-full tiles, took 1.054, at worst 2.9. */
enum { PHASE_OUTPUTS = 12, TILE_OUTPUTS = 3, TRANSFORM_OUTPUTS = 60, WEIGHT_TRANSFORM_OUTPUTS = 40 };

/* Multiplied by all channels, so that all numbers are whole, and exact. */
static int winograd_pays(const ck_conv_shape *s, ck_conv_op op) {
  const int64_t *outputs = op == CK_GRAD_X || op == CK_TRANSPOSED ? s->in : s->out;
  if (!winograd_can(s))
    return 0;
  double positions = (double)outputs[0], tiles = positions; /* of the smallest phase, and of the largest */
  for (int i = 1; i < 3; i++) {
    const int64_t least = outputs[i] / s->dilation[i], most = least + (outputs[i] % s->dilation[i] > 0);
    positions *= (double)least;
    tiles *= (double)ck_ceil_div(most, CK_WINOGRAD_TILE);
  }
  const double products = (double)s->kernel[0] * (double)s->c_in * (double)s->c_out;
  const double transforms =
      ((double)s->c_in + (double)s->c_out) * (op == CK_GRAD_WEIGHT ? WEIGHT_TRANSFORM_OUTPUTS : TRANSFORM_OUTPUTS);
  return (positions - PHASE_OUTPUTS) * products > tiles * (TILE_OUTPUTS * products + transforms);
}

/* Columns first: 3x3 layers of 5 or 6 channels that columns repay, too, take 0.87 of Winograd's time with them. */
int ck_conv_rule(const ck_conv_shape *s, ck_conv_op op) {
  if (direct_can(s))
    return CK_DIRECT;
  if ((op == CK_GRAD_X || op == CK_TRANSPOSED) && columns_pay(s))
    return CK_IM2COL;
  return winograd_pays(s, op) ? CK_WINOGRAD : CK_IMPLICIT_GEMM;
}

ck_status ck_conv_supports(const ck_conv_shape *shape, int algorithm) {
  int can = algorithm == CK_DIRECT ? direct_can(shape) : algorithm != CK_WINOGRAD || winograd_can(shape);
  return can ? CK_OK : CK_UNSUPPORTED;
}
