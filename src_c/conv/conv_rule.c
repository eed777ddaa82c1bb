/* Which algorithm a convolution takes: a rule of one image's shape, frozen, since it decides bits. */
#include "base/geometry.h"
#include "dense/winograd_plan.h"

/* Groups this narrow would leave most lanes of a dense panel empty: the lanes hold groups instead.  Up to 8 channels a
 * group that was the faster way on every layer tried (32 groups of 4: 3.4 times). */
enum { NARROW = 8 };

static int direct_can(const ck_conv_shape *s) {
  return s->groups > 1 && (s->c_in == 1 || (s->c_in <= NARROW && s->c_out <= NARROW));
}

/* A gradient of x of this many phases and more is computed by way of its columns, of which each phase would see few:
 * with 16 of them that took 0.4 to 1.1 of the time on layers of 3 to 64 channels, with hundreds and a single channel a
 * twentieth. Columns of fewer positions would leave most lanes empty. */
enum { MANY_PHASES = 16, FEW_POSITIONS = 4 };

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
  if (op != CK_GRAD_X && op != CK_TRANSPOSED)
    return CK_IMPLICIT_GEMM;
  int64_t phases = 1, positions = 1;
  for (int i = 0; i < 3; i++) { /* no further than they matter: products of all may not fit */
    phases = ck_min(phases * ck_min(ck_min(s->stride[i], s->in[i]), MANY_PHASES), MANY_PHASES);
    positions = ck_min(positions * ck_min(s->out[i], FEW_POSITIONS), FEW_POSITIONS);
  }
  return phases == MANY_PHASES && positions == FEW_POSITIONS ? CK_IM2COL : CK_IMPLICIT_GEMM;
}

ck_status ck_conv_supports(const ck_conv_shape *shape, int algorithm) {
  int can = algorithm == CK_DIRECT ? direct_can(shape) : algorithm != CK_WINOGRAD || winograd_can(shape);
  return can ? CK_OK : CK_UNSUPPORTED;
}
