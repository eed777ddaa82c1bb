/* Normalisation by a channel's own moments, and its way back: sums over channels, a few numbers for each, and a map.
 *
 * Values stay in their own dtype; what there is one number of for each channel is in double precision, and so are the
 * sums.  That gives moments as exact as the values are, if values are shifted before they are squared, by a value of
 * their own channel: a variance is then off by no more than the number of values times a rounding of a double. */
#include <float.h>
#include <math.h>

#include "base/dispatch.h"
#include "base/geometry.h"
#include "channels.h"

/* NEAR: deviations, how near the mean a shift has to be where there is nothing wider than the values for the squares.
 * TRIES: of a shift. */
enum { NEAR = 2, TRIES = 3, ALIGNMENT = 64 };

/* Of float32 whose scale nobody else chooses: no difference of two values overflows, and doubles hold all squares. */
static const double QUARTER = 0.25;

/* Sums and the numbers of a map, [c] of the arrays' dtype each, lie in the workspace. */
typedef struct normal_call {
  const ck_normal *call;
  ck_channels sums, map;
  char *numbers;
  double count;
} normal_call;

static double real_at(const void *reals, int64_t i, size_t real_size) {
  return real_size == sizeof(float) ? (double)((const float *)reals)[i] : ((const double *)reals)[i];
}

static void set_real(void *reals, int64_t i, size_t real_size, double value) {
  if (real_size == sizeof(float))
    ((float *)reals)[i] = (float)value;
  else
    ((double *)reals)[i] = value;
}

static double rounded(double value, size_t real_size) { return real_size == sizeof(float) ? (float)value : value; }

static int64_t number_bytes(const ck_channels *arrays) {
  return ck_round_up(arrays->c * arrays->kernels->real_size, ALIGNMENT);
}

static int64_t sum_bytes(const ck_channels *arrays) {
  return ck_round_up(arrays->c * 2 * (int64_t)sizeof(double), ALIGNMENT);
}

/* Of what is known, where the caller has no place for it. */
static int64_t known_bytes(const ck_normal *call) {
  return call->known ? 0 : ck_round_up(CK_KNOWN * call->channels * (int64_t)sizeof(double), ALIGNMENT);
}

int64_t ck_normal_workspace(const ck_normal *call) {
  double some;
  ck_channels sums = call->arrays;
  sums.sums = &some;
  return known_bytes(call) + sum_bytes(&sums) + CK_CHANNEL_NUMBERS * number_bytes(&sums) + ck_channels_workspace(&sums);
}

static void keep_known(ck_normal *call) {
  const int64_t bytes = known_bytes(call);
  call->known = call->arrays.run.workspace;
  call->arrays.run.workspace = (char *)call->arrays.run.workspace + bytes;
  call->arrays.run.workspace_bytes -= bytes;
  for (int64_t c = 0; c < call->channels; c++)
    call->known[CK_SCALE * call->channels + c] = QUARTER;
}

static normal_call begin(const ck_normal *call) {
  const int64_t before = sum_bytes(&call->arrays) + CK_CHANNEL_NUMBERS * number_bytes(&call->arrays);
  normal_call p = {.call = call, .sums = call->arrays};
  p.numbers = (char *)call->arrays.run.workspace + sum_bytes(&call->arrays);
  for (int k = 0; k < CK_CHANNEL_NUMBERS; k++)
    p.sums.numbers[k] = p.numbers + k * number_bytes(&call->arrays);
  p.sums.run.workspace = (char *)call->arrays.run.workspace + before;
  p.sums.run.workspace_bytes -= before;
  p.map = p.sums;
  p.sums.sums = call->arrays.run.workspace;
  p.sums.y.data = NULL;
  p.count = (double)call->arrays.n * (double)call->arrays.l * (double)call->pieces;
  return p;
}

/* The same for all pieces of a channel. */
static void set_number(const normal_call *p, int number, int64_t channel, double value) {
  const int64_t pieces = p->call->pieces;
  const size_t real_size = (size_t)p->sums.kernels->real_size;
  char *numbers = p->numbers + number * number_bytes(&p->sums);
  for (int64_t i = channel * pieces; i < (channel + 1) * pieces; i++)
    set_real(numbers, i, real_size, value);
}

static double *known(const ck_normal *call, ck_known what, int64_t channel) {
  return call->known + what * call->channels + channel;
}

/* The sums of a channel, out of its pieces' in their order. */
static void sums_of(const normal_call *p, int64_t channel, double sums[2]) {
  const int64_t pieces = p->call->pieces;
  const double *of = p->sums.sums + 2 * channel * pieces;
  double one = 0, two = 0;
  for (int64_t i = 0; i < pieces; i++) {
    one += of[2 * i];
    two += of[2 * i + 1];
  }
  sums[0] = one;
  sums[1] = two;
}

/* A channel's weight or bias: the piece's, where pieces have their own. */
static double number_of(const normal_call *p, const void *numbers, int64_t channel, int64_t piece, double otherwise) {
  const int64_t i = p->call->apart ? channel * p->call->pieces + piece : channel;
  return numbers ? real_at(numbers, i, (size_t)p->sums.kernels->real_size) : otherwise;
}

static double weight_of(const normal_call *p, int64_t channel) { return number_of(p, p->call->weight, channel, 0, 1); }

/* The map from d to xhat * weight + bias: its two numbers lie side by side, from the first of these places on. */
enum { TO_XHAT = 2, TO_ACTIVATION = CK_MAP_NUMBERS };

static void set_slope(const normal_call *p, int number, int64_t channel, const void *weight, const void *bias) {
  const int64_t pieces = p->call->pieces, bytes = number_bytes(&p->sums);
  const size_t real_size = (size_t)p->sums.kernels->real_size;
  const double inv_std = *known(p->call, CK_INV_STD, channel), rest = *known(p->call, CK_REST, channel);
  char *slopes = p->numbers + number * bytes, *adds = slopes + bytes;
  for (int64_t i = 0; i < pieces; i++) {
    const double slope = inv_std * number_of(p, weight, channel, i, 1);
    set_real(slopes, channel * pieces + i, real_size, slope);
    set_real(adds, channel * pieces + i, real_size, number_of(p, bias, channel, i, 0) - rest * slope);
  }
}

/* The map from x to xhat * weight + bias. */
static void set_map(const normal_call *p, int64_t channel, const void *weight, const void *bias) {
  set_number(p, 0, channel, *known(p->call, CK_SCALE, channel));
  set_number(p, 1, channel, *known(p->call, CK_SHIFT, channel));
  set_slope(p, TO_XHAT, channel, weight, bias);
}

/* What is done to channels first..end-1: a worker's block of them or, without a worker, all. */
typedef ck_status (*range_task)(const normal_call *p, ck_worker *worker, int64_t first, int64_t end);

static ck_status form_sums(const normal_call *p, ck_worker *worker, int64_t first, int64_t end) {
  if (!worker)
    return ck_channels_run(&p->sums);
  ck_channels_sum(&p->sums, worker, first, end - first);
  return CK_OK;
}

static ck_status run_map(const normal_call *p, ck_worker *worker, int64_t first, int64_t end) {
  if (!p->map.y.data)
    return CK_OK;
  if (!worker)
    return ck_channels_run(&p->map);
  ck_channels_map(&p->map, worker, first, end - first);
  return CK_OK;
}

typedef struct block_call {
  const normal_call *normal;
  range_task task;
} block_call;

static void run_block(ck_worker *worker, void *context, int64_t index) {
  const block_call *p = context;
  const ck_channels *sums = &p->normal->sums;
  const int64_t each = ck_channels_together(sums);
  p->task(p->normal, worker, index * each, ck_min((index + 1) * each, sums->c));
}

static ck_status run(const normal_call *p, range_task task) {
  const ck_channels *sums = &p->sums;
  if (sums->lanes || p->call->pieces > 1)
    return task(p, NULL, 0, p->call->channels);
  block_call blocks = {.normal = p, .task = task};
  return ck_parallel(ck_ceil_div(sums->c, ck_channels_together(sums)), run_block, &blocks, &sums->run, NULL, 0);
}

/* ---------------------------------------------------------------- forward */

/* Takes a channel's moments from its sums.  True if its shift was too far from the mean; the next one is nearer. */
static int measure(const normal_call *p, int64_t channel) {
  const ck_normal *call = p->call;
  const size_t real_size = (size_t)p->sums.kernels->real_size;
  const double scale = *known(call, CK_SCALE, channel);
  const double shift = real_at(p->sums.numbers[1], channel * call->pieces, real_size);
  double sums[2];
  sums_of(p, channel, sums);
  const double one = sums[0] / p->count, two = sums[1] / p->count, square = two - one * one;
  const double var = square < 0 ? 0 : square, nearer = rounded(shift + one, real_size);
  /* A scaled eps might overflow where it is added; without a scale it is, for that is much quicker. */
  const double std = scale == 1 ? sqrt(var + call->epsilon) : hypot(sqrt(var), sqrt(call->epsilon) * scale);
  *known(call, CK_SHIFT, channel) = nearer;
  *known(call, CK_REST, channel) = shift - nearer + one;
  *known(call, CK_INV_STD, channel) = 1 / std;
  *known(call, CK_VARIANCE, channel) = scale == 1 ? var : var / scale / scale;
  return real_size > sizeof(float) && fabs(one) > NEAR * sqrt(var) && nearer != shift;
}

static ck_status forward(const normal_call *p, ck_worker *worker, int64_t first, int64_t end) {
  const ck_normal *call = p->call;
  const size_t real_size = (size_t)p->sums.kernels->real_size;
  ck_status status = CK_OK;
  for (int64_t c = first; c < end; c++) {
    const char *x = (const char *)p->sums.x.data + c * call->pieces * p->sums.x.stride[1];
    set_number(p, 0, c, *known(call, CK_SCALE, c));
    set_number(p, 1, c, real_at(x, 0, real_size) * *known(call, CK_SCALE, c));
  }
  for (int again = 1, tries = 1; again && status == CK_OK; tries++) {
    status = form_sums(p, worker, first, end);
    again = 0;
    for (int64_t c = first; c < end; c++)
      if (measure(p, c) && tries < TRIES) {
        set_number(p, 1, c, *known(call, CK_SHIFT, c));
        again = 1;
      }
  }
  for (int64_t c = first; c < end; c++)
    set_map(p, c, call->weight, call->bias);
  return status == CK_OK ? run_map(p, worker, first, end) : status;
}

ck_status ck_normal_forward(ck_normal *call) {
  const int is_float = call->arrays.kernels->real_size == sizeof(float);
  const double most = is_float ? FLT_MAX : DBL_MAX;
  const double least = is_float ? FLT_MIN / FLT_EPSILON / FLT_EPSILON : DBL_MIN / DBL_EPSILON / DBL_EPSILON;
  if (call->arrays.run.workspace_bytes < ck_normal_workspace(call))
    return CK_WORKSPACE;
  if (!call->known)
    keep_known(call);
  normal_call p = begin(call);
  p.sums.g.data = p.map.g.data = NULL;
  const ck_status status = run(&p, forward);
  call->extreme = 0;
  for (int64_t c = 0; c < call->channels; c++) {
    const double spread = *known(call, CK_VARIANCE, c) + call->epsilon;
    const int extreme = !(spread <= most) || spread < least;
    *known(call, CK_EXTREME, c) = extreme;
    call->extreme |= extreme;
  }
  return status;
}

static double clipped(double value, double most) { return value > most ? most : value < -most ? -most : value; }

void ck_follow_run(const ck_follow *call) {
  const double most = call->real_size == sizeof(float) ? FLT_MAX : DBL_MAX;
  const double *known = call->known;
  const int64_t channels = call->channels;
  for (int64_t c = 0; c < channels; c++) {
    char *at = (char *)call->running + c * call->stride;
    const double mean =
        (known[CK_SHIFT * channels + c] + known[CK_REST * channels + c]) / known[CK_SCALE * channels + c];
    const double to = (call->variance ? known[CK_VARIANCE * channels + c] : mean) * call->times;
    const double left = (1 - call->rate) * clipped(real_at(at, 0, call->real_size), most);
    set_real(at, 0, call->real_size, clipped(left + call->rate * clipped(to, most), most));
  }
}

/* ---------------------------------------------------------------- backward */

/* Where moments are constants, g goes through the map to steep * weight * g. */
static void set_constant(const normal_call *p, int64_t channel) {
  const ck_normal *call = p->call;
  const double steep = *known(call, CK_INV_STD, channel) * *known(call, CK_SCALE, channel);
  set_number(p, 0, channel, 1);
  set_number(p, 1, channel, 0);
  set_number(p, 2, channel, steep * weight_of(p, channel));
  set_number(p, 3, channel, 0);
}

static void take_sums(const normal_call *p, int64_t channel) {
  const ck_normal *call = p->call;
  const double steep = *known(call, CK_INV_STD, channel) * *known(call, CK_SCALE, channel);
  const double weight = weight_of(p, channel);
  double sums[2];
  sums_of(p, channel, sums);
  if (call->total)
    set_real(call->total, channel, (size_t)p->sums.kernels->real_size, sums[0]);
  if (call->product)
    set_real(call->product, channel, (size_t)p->sums.kernels->real_size, sums[1]);
  set_number(p, 4, channel, steep * weight);
  set_number(p, 5, channel, sums[1] * weight / p->count * -steep);
  set_number(p, 6, channel, sums[0] * weight / p->count * -steep);
}

static ck_status backward(const normal_call *p, ck_worker *worker, int64_t first, int64_t end) {
  const ck_normal *call = p->call;
  if (!call->constant || call->total || call->product) {
    for (int64_t c = first; c < end; c++) {
      set_map(p, c, NULL, NULL);
      set_slope(p, TO_ACTIVATION, c, call->weight, call->bias); /* bit by bit what forward had */
    }
    const ck_status status = form_sums(p, worker, first, end);
    if (status != CK_OK)
      return status;
    for (int64_t c = first; c < end; c++)
      take_sums(p, c);
  }
  for (int64_t c = first; c < end && call->constant; c++)
    set_constant(p, c);
  return run_map(p, worker, first, end);
}

ck_status ck_normal_backward(const ck_normal *call) {
  if (call->arrays.run.workspace_bytes < ck_normal_workspace(call))
    return CK_WORKSPACE;
  normal_call p = begin(call);
  if (call->constant) {
    p.map.x = p.map.g;
    p.map.g.data = NULL;
  }
  return run(&p, backward);
}
