/* convkit: the C library's one public header.
 *
 * A plain C library that knows nothing of Python.  The caller owns every buffer; nothing here allocates but the blocks
 * that are asked for as such.
 * Sizes are 64-bit counts, strides are 64-bit byte counts and may be zero, negative or unaligned.
 * 1-D and 2-D problems are 3-D ones with leading axes of length one: spatial arrays are (depth, height, width).
 */
#ifndef CONVKIT_H
#define CONVKIT_H

#include <stddef.h>
#include <stdint.h>

typedef enum ck_status {
  CK_OK = 0,
  CK_INTERRUPTED = 1, /* poll() asked to stop; outputs hold unspecified values */
  CK_WORKSPACE = 2,   /* the workspace given is smaller than ck_*_workspace asked for */
  CK_UNSUPPORTED = 3, /* the algorithm named cannot do this shape, or not with panels of this kind */
  CK_BAD_INDEX = 4,   /* an index points outside its plane; outputs hold unspecified values */
  CK_FORKED = 5,      /* poll forked, and this is the child: what the pool's other threads had begun is lost. OpenMP's
                         are waited for, for ever */
} ck_status;
const char *ck_status_name(ck_status status);

typedef enum ck_dtype { CK_F32 = 0, CK_F64 = 1, CK_DTYPES = 2 } ck_dtype;

/* Rising order of preference; dispatch.c fills one table of kernels for each. */
typedef enum ck_isa { CK_GENERIC = 0, CK_NEON = 1, CK_AVX2 = 2, CK_AVX512 = 3, CK_ISAS = 4 } ck_isa;

typedef enum ck_padding_mode { CK_ZEROS = 0, CK_REFLECT = 1, CK_REPLICATE = 2, CK_CIRCULAR = 3 } ck_padding_mode;

/* The derivative is formed from the activation's result y, or, where it is no function of that, from its argument x. */
typedef enum ck_activation {
  CK_IDENTITY = 0,
  CK_RELU = 1,         /* y */
  CK_LEAKY_RELU = 2,   /* y, a = slope at least 0; or x */
  CK_SIGMOID = 3,      /* y */
  CK_TANH = 4,         /* y */
  CK_CLIP = 5,         /* y, a = lo, b = hi */
  CK_SILU = 6,         /* x */
  CK_GELU = 7,         /* x */
  CK_HARD_SWISH = 8,   /* x */
  CK_HARD_SIGMOID = 9, /* y */
  CK_ELU = 10,         /* y, a = alpha at least 0, b = scale of the whole */
  CK_GELU_TANH = 11,   /* x */
  CK_SOFTPLUS = 12,    /* x, a = beta, b = threshold */
  CK_ELU_OF_X = 13,    /* x: CK_ELU, and any alpha */
} ck_activation;

typedef enum ck_algorithm {
  CK_AUTO = 0,
  CK_IMPLICIT_GEMM = 1,
  CK_IM2COL = 2,
  CK_DIRECT = 3,
  CK_WINOGRAD = 4,
} ck_algorithm;

/* The kernels of one instruction set and dtype. Whoever fills a call's fields asks for them once: the set in force may
 * be changed by another thread at any time, and workspace is that of the kernels that run. */
typedef struct ck_kernels ck_kernels;
const ck_kernels *ck_kernels_for(int dtype);
const ck_kernels *ck_kernels_of(int isa, int dtype); /* NULL if it was not built in */

/* How a call runs: threads, workspace, and the hook that lets Ctrl-C through.
 * poll is called from the calling thread about every 50 ms; non-zero stops the call with CK_INTERRUPTED. */
typedef struct ck_run {
  int threads;
  int flush_denormals; /* take denormal numbers as zeros, on all threads of the call, no longer than it lasts */
  int (*poll)(void);
  void *workspace; /* 64-byte aligned */
  int64_t workspace_bytes;
  int64_t limit; /* of the workspace, where not 0: blocks are cut smaller for it, but bits and the algorithm stay. What
                    does not fit asks for more all the same: the caller takes fewer threads, or gives up. */
} ck_run;

/* ------------------------------------------------------------------ convolution */

/* The arithmetic of one convolution, without its arrays. */
typedef struct ck_conv_shape {
  int64_t n, groups;
  int64_t c_in, c_out; /* per group */
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad_lo[3], pad_hi[3];
  int padding_mode;
} ck_conv_shape;

/* strides: (batch, channel, depth, height, width), in bytes. */
typedef struct ck_tensor {
  void *data;
  int64_t stride[5];
} ck_tensor;

/* Weights laid out, or transformed, for every image to come: `kind`, a number of the library's own, and the kernels say
 * how. */
typedef struct ck_panels {
  int kind;
  int64_t bytes;
  const void *data;
} ck_panels;

/* One call of the family.  Which arrays are read and written:
 *   forward      x, weight, bias?            -> y
 *   grad x       y (the gradient), weight    -> x
 *   grad weight  y (the gradient), x         -> weight?, bias?
 * weight.stride: (output channel, input channel in the group, depth, height, width).
 * In a backward call with an activation, act_y is the forward's output and y is the gradient after it. */
typedef struct ck_conv {
  ck_conv_shape shape;
  const ck_kernels *kernels;
  int algorithm;
  ck_tensor x, weight, y, act_y;
  void *bias; /* may be NULL */
  int64_t bias_stride;
  int add;      /* the output holds what is added to sum + bias, before an activation that is a bound, or none */
  int prepared; /* plan for weights that lie ready, in panels when it runs */
  ck_panels panels;
  int activation;
  double act_a, act_b;
  ck_run run;
} ck_conv;

/* Transposed convolution is the adjoint of a convolution, and is described by it: x is the larger side, the transposed
 * one's output, and y the smaller, its input; bias and activation belong to x, and in a backward call x is the gradient
 * after the activation and act_y the forward's output, of x's shape.
 *   transposed forward      y, weight, bias?       -> x
 *   transposed grad x       x (the gradient), weight -> y
 *   transposed grad weight  x (the gradient), y    -> weight?, bias?
 * For im2col and col2im, y is the columns, (n, c_in * taps, positions), as a tensor with strides (batch, row, -, -,
 * position), and groups is 1: im2col reads x and writes y, col2im, its adjoint, reads y and writes x. */
typedef enum ck_conv_op {
  CK_FORWARD = 0,
  CK_GRAD_X = 1,
  CK_GRAD_WEIGHT = 2,
  CK_IM2COL_OP = 3,
  CK_COL2IM_OP = 4,
  CK_TRANSPOSED = 5,
  CK_TRANSPOSED_GRAD_X = 6,
  CK_TRANSPOSED_GRAD_WEIGHT = 7,
} ck_conv_op;

/* Bytes of workspace that ck_conv_run will ask for; of run only threads and limit are read. */
ck_status ck_conv_workspace(const ck_conv *call, ck_conv_op op, int64_t *bytes);
ck_status ck_conv_run(const ck_conv *call, ck_conv_op op);
/* The panels that a prepared call's plan takes, but for their data: no bytes where it takes weights as they are, and is
 * not to be called prepared. Of CK_FORWARD and CK_TRANSPOSED alone. */
ck_panels ck_conv_panels(const ck_conv *call, ck_conv_op op);
/* Writes them, 64-byte aligned; takes the workspace of the call. */
void ck_conv_pack(const ck_conv *call, ck_conv_op op, void *panels);

/* The algorithm that CK_AUTO stands for: a rule of one image's shape alone, since it decides bits. */
int ck_conv_rule(const ck_conv_shape *shape, ck_conv_op op);
/* Whether `algorithm` can do this shape; CK_UNSUPPORTED if not. */
ck_status ck_conv_supports(const ck_conv_shape *shape, int algorithm);

/* What a call would do. Cycles are estimates, of all its threads together with its waits; 0 where an arrangement cannot
 * be. Without a correlation of its own (gradients of the weight, columns added back) arrangement is -1. */
enum { CK_MOST_ARRANGEMENTS = 8 };
typedef enum ck_reads { CK_READS_WINDOW, CK_READS_INPUT, CK_READS_COLUMNS } ck_reads;
typedef struct ck_explanation {
  int algorithm, arrangement, threads;
  ck_reads reads; /* of no meaning without an arrangement */
  double cycles[CK_MOST_ARRANGEMENTS], chosen;
  int64_t block[4]; /* outputs of the largest block: images, planes, rows, columns */
  int64_t channels; /* reduced at a time */
  int64_t lanes;    /* output channels, or groups, of a tile */
  int64_t tasks, workspace;
  int64_t shared_weights, shared_inputs; /* bytes that are laid out once for all tasks, of inputs those of a round */
  int64_t rounds;                        /* in which the inputs are; 0: each task has its own */
  int64_t patches; /* of a block at most, each multiplied by the taps alone that it reads inside */
} ck_explanation;
ck_status ck_conv_explain(const ck_conv *call, ck_conv_op op, ck_explanation *explanation);

/* Which arrangements of the engine (the enum ck_arrangement, a bit each) are taken where a call may have one of them,
 * and what they read (ck_reads, alike) where they may; 0, the default: the cheapest. They never change bits: for tests,
 * and for the fit of the planner's costs. */
void ck_arrangements_take_only(int arrangements, int reads);
const char *ck_arrangement_name(int arrangement); /* NULL past the last */

/* What the planner's estimates are made of, by index: a name, or NULL past the last, of `count` numbers; the i-th of
 * them. To be set by a fit, in a process that has no other threads here. */
const char *ck_cost_name(int index, int *count);
double ck_cost_at(int index, int i);
void ck_cost_set(int index, int i, double value);

/* ------------------------------------------------------------------ deformable convolution */

/* offset: (batch, group * taps * nd + tap * nd + axis, spatial), mask: (batch, group * taps + tap, spatial).
 *   forward    x, offset, mask?, weight, bias?                      -> y
 *   backward   y (the gradient), act_y?, x, offset, mask?, weight   -> those of dx, d_offset, d_mask, d_weight and bias
 *              whose data is not NULL
 * conv's algorithm is not looked at; its add, prepared and panels are 0. */
typedef struct ck_deform {
  ck_conv conv;
  int nd; /* spatial dimensions that have offsets: the last ones */
  int64_t offset_groups;
  ck_tensor offset, mask;
  ck_tensor dx, d_offset, d_mask, d_weight;
} ck_deform;

ck_status ck_deform_workspace(const ck_deform *call, int backward, int64_t *bytes);
ck_status ck_deform_run(const ck_deform *call, int backward);

/* ------------------------------------------------------------------ pooling */

/* Windows of pooling: output o covers, along each axis, coordinates o * stride + t * dilation - pad_lo for t < kernel;
 * adaptive, floor(o * in / out) to ceil((o + 1) * in / out) - 1, and kernel, stride, dilation and padding are not read.
 * Averages are divided by the number of taps inside the image or, with count_pad, inside the padded image. */
typedef struct ck_pool_shape {
  int64_t n, channels;
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad_lo[3], pad_hi[3];
  int adaptive, count_pad;
} ck_pool_shape;

/* x is the larger side, of size `in`, y the smaller, of size `out`; indices, int64 and of y's shape, are row-major in
 * the image plane of x.  What is read and written:
 *   max            x             -> y, indices?   a tie goes to the first, NaN wins; no element: -inf and -1
 *   average        x             -> y
 *   average grad   y (gradient)  -> x
 *   scatter add    y, indices    -> x             zero but for sums; index -1 is passed over: max pooling's gradient
 *   scatter        y, indices    -> x             zero but for the last value of each: unpooling
 *   gather         x, indices    -> y             unpooling's gradient
 *   check          indices       -> nothing       CK_BAD_INDEX where scatter would give it */
typedef enum ck_pool_op {
  CK_POOL_MAX = 0,
  CK_POOL_AVERAGE = 1,
  CK_POOL_AVERAGE_GRAD = 2,
  CK_POOL_SCATTER_ADD = 3,
  CK_POOL_SCATTER = 4,
  CK_POOL_GATHER = 5,
  CK_POOL_CHECK = 6,
} ck_pool_op;

typedef struct ck_pool {
  ck_pool_shape shape;
  const ck_kernels *kernels;
  ck_tensor x, y, indices;
  ck_run run;
} ck_pool;

/* Bytes of workspace that ck_pool_run will ask for; pointers are not followed. */
ck_status ck_pool_workspace(const ck_pool *call, ck_pool_op op, int64_t *bytes);
ck_status ck_pool_run(const ck_pool *call, ck_pool_op op);
/* ------------------------------------------------------------------ resampling */

/* Of 2 to the power of its value elements along an axis. */
typedef enum ck_sampling { CK_NEAREST = 0, CK_LINEAR = 1, CK_CUBIC = 2 } ck_sampling;

/* Interpolation onto another grid of the same axes. Output i of an axis lies at coordinate
 * (i + before) * times / over - after of the input, formed in double precision: nearest takes the element at its floor,
 * linear and cubic the two or four elements around it, the image's edge repeated. With antialias, linear or cubic, it
 * takes those of the image whose middles, element i's being i + 1/2, lie within one or two elements or, along an axis
 * that shrinks, one or two outputs. x and y may be parts of images of `whole` elements that begin at `first` of these:
 * what they hold then has the bits that it has in the whole. */
typedef struct ck_resize {
  int64_t n, channels, in[3], out[3];
  const ck_kernels *kernels;
  int sampling, antialias;
  double times[3], over[3], before, after;
  int64_t first_in[3], first_out[3], whole_in[3], whole_out[3];
  ck_tensor x, y;
  ck_run run;
} ck_resize;

typedef enum ck_resize_op {
  CK_RESIZE = 0,       /* x -> y */
  CK_RESIZE_GRAD_X = 1 /* y, the gradient -> x */
} ck_resize_op;

ck_status ck_resize_workspace(const ck_resize *call, ck_resize_op op, int64_t *bytes);
ck_status ck_resize_run(const ck_resize *call, ck_resize_op op);

typedef enum ck_border { CK_BORDER_ZEROS = 0, CK_BORDER_EDGE = 1, CK_BORDER_REFLECTION = 2 } ck_border;

/* Samples of x at the places that grid names, for each image and output position one coordinate per axis, innermost
 * axis first. The channel strides of grid and grad_grid are those of their last axis, the coordinates. */
typedef struct ck_grid_sample {
  int64_t n, channels, in[3], out[3];
  int axes; /* 2 or 3: with 2, depths are 1 */
  const ck_kernels *kernels;
  int sampling, border, align_corners;
  ck_tensor x, grid, y, grad_grid;
  ck_run run;
} ck_grid_sample;

typedef enum ck_grid_op {
  CK_GRID_SAMPLE = 0,   /* x, grid -> y */
  CK_GRID_GRAD_X = 1,   /* y, the gradient, grid -> x */
  CK_GRID_GRAD_GRID = 2 /* y, the gradient, x, grid -> grad_grid */
} ck_grid_op;

ck_status ck_grid_workspace(const ck_grid_sample *call, ck_grid_op op, int64_t *bytes);
ck_status ck_grid_run(const ck_grid_sample *call, ck_grid_op op);

/* ------------------------------------------------------------------ elementwise */

/* y = activation(a), a copy if there is none, y = a * activation'(b) with b what ck_activation says, or y =
 * activation(a op b). */
typedef enum ck_element_op {
  CK_ACTIVATE = 0,
  CK_ACTIVATE_BACK = 1,
  CK_PLUS = 2,
  CK_MINUS = 3,
  CK_TIMES = 4,
  CK_OVER = 5,
  CK_LARGER = 6, /* NaN where either is */
  CK_SMALLER = 7,
} ck_element_op;

enum { CK_AXES = 8 };

/* Strides in bytes, 0 along an axis over which the array is broadcast. */
typedef struct ck_strided {
  void *data;
  int64_t stride[CK_AXES];
} ck_strided;

/* y overlaps neither itself nor another array. Without a second operand b.data is NULL. */
typedef struct ck_elementwise {
  ck_element_op op;
  int axes;
  int64_t size[CK_AXES];
  const ck_kernels *kernels;
  ck_strided y, a, b;
  int activation; /* CK_IDENTITY with an operator of two numbers alone */
  double act_a, act_b;
  ck_run run; /* no workspace */
} ck_elementwise;

ck_status ck_elementwise_run(const ck_elementwise *call);

/* ------------------------------------------------------------------ channels */

enum { CK_SUM_NUMBERS = 4, CK_MAP_NUMBERS = 7, CK_SLOPE_NUMBERS = 2, CK_CHANNEL_NUMBERS = 9 };

/* Of (n, c, l) arrays, none of them empty, with xhat = (x * scale - shift) * slope + add:
 *   sums, no g   the sums over a channel of d = x * scale - shift, and of d^2     -> sums[c][2]
 *   sums, g      those of g and of g * xhat                                       -> sums[c][2]
 *   no sums      y = xhat within bounds or, with g, g * u + (xhat * v + w)
 * With g and an activation, g is the gradient of its result: it is first multiplied by the derivative, which is 0 or 1
 * by (x * scale - shift) * of_slope + of_add. Sums are formed in double precision. y overlaps nothing. */
typedef struct ck_channels {
  int64_t n, c, l;
  int lanes;    /* channels are adjacent, and at least 16; otherwise values are */
  int64_t cuts; /* without lanes, into how many equal runs of its values a channel's sum is cut */
  const ck_kernels *kernels;
  ck_strided x, g, y; /* strides of n, c and l */
  /* scale, shift, slope, add, u, v, w, of_slope, of_add: [c] each, of the arrays' dtype; sums, and maps without g, take
   * the first four, and the last two where there are both g and an activation */
  const void *numbers[CK_CHANNEL_NUMBERS];
  double *sums;
  int activation; /* one that is bounds: CK_RELU, CK_CLIP or none, CK_IDENTITY */
  double act_a, act_b;
  ck_run run;
} ck_channels;

int64_t ck_channels_workspace(const ck_channels *call);
ck_status ck_channels_run(const ck_channels *call);

/* ------------------------------------------------------------------ normalisation */

/* What is known of each channel, in double precision: d = x * scale - shift, scale being a power of two; xhat = (d -
 * rest) * inv_std; the variance of x; and 1 where squares nearly overflow or vanish, so that a scale is needed, else 0.
 */
typedef enum ck_known { CK_SCALE, CK_SHIFT, CK_REST, CK_INV_STD, CK_VARIANCE, CK_EXTREME, CK_KNOWN } ck_known;

/* Of arrays as those of ck_channels, `pieces` adjacent channels of which are one; `channels` that leaves.
 *   forward   measures all but the scale; y = xhat * weight + bias, if there is a y
 *   backward  total and product: the sums of g, and of g * xhat, if there are such arrays;
 *             y = steep * (g * weight - mean(g * weight) - xhat * mean(g * weight * xhat)), steep = inv_std * scale,
 *             or where moments are `constant`, steep * g * weight, if there is a y; where they are not, an activation
 *             may have followed, and g be the gradient of its result */
typedef struct ck_normal {
  ck_channels arrays; /* numbers and sums are not looked at; of the workspace is said below */
  int64_t pieces, channels;
  double epsilon;
  double *known;             /* [CK_KNOWN][channels]; NULL: forward, of float32, keeps that to itself, and needs none */
  const void *weight, *bias; /* [channels], of the arrays' dtype; or NULL: ones, zeros */
  int apart;                 /* weight and bias are [channels * pieces]: each piece has its own; forward alone */
  void *total, *product;     /* [channels], of the arrays' dtype */
  int constant, extreme;     /* out: whether any channel is */
} ck_normal;

int64_t ck_normal_workspace(const ck_normal *call);
ck_status ck_normal_forward(ck_normal *call);
ck_status ck_normal_backward(const ck_normal *call);

/* Moves running means, or variances, so many bytes apart, towards the known ones, these times `times`, by so much of
 * the way. Infinity would stay for ever: what their dtype cannot hold counts as its largest number. */
typedef struct ck_follow {
  const double *known; /* [CK_KNOWN][channels] */
  int64_t channels;
  int variance;
  double times, rate;
  void *running;
  int64_t stride;
  size_t real_size;
} ck_follow;

void ck_follow_run(const ck_follow *call);

/* ------------------------------------------------------------------ rows */

typedef enum ck_row_op {
  CK_SOFTMAX = 0,  /* y = exp(x) / the row's sum of that; of equal infinities alike */
  CK_STANDARD = 1, /* y = (x - mean) / sqrt(variance + epsilon) * scale + bias, of the row's own moments */
  /* y = x / (epsilon + factor * s)^(quarters / 4), s: the squares' sum of values k - before..k + after */
  CK_RESPONSE = 2,
  /* loss = -log(softmax(x)[label]), y = its gradient: softmax(x), less 1 at the label; y may be NULL */
  CK_CROSS_ENTROPY = 3,
  /* y = x / max(least, sqrt(epsilon + factor * s)) * scale + bias, s: the sum of the row's squares */
  CK_BY_NORM = 4,
  CK_TOTAL = 5, /* one number of each row: factor * its sum; y's stride of c is that of adjacent values */
  CK_ROOT = 6,  /* the same of sqrt(factor * the sum of its squares) */
} ck_row_op;

/* Of (n, c, l) arrays, none of them empty, whose n * l rows are c values each. y overlaps nothing. In either array
 * the values of a row are adjacent or, where they are not, the rows of each n. CK_STANDARD, and
 * what is behind CK_CROSS_ENTROPY, are of float32 alone: with squares in double precision none overflows. */
typedef struct ck_rows {
  ck_row_op op;
  int64_t n, c, l;
  const ck_kernels *kernels;
  ck_strided x, y;          /* strides of n, c and l */
  const void *scale, *bias; /* [c] each, of the arrays' dtype; either may be NULL */
  double epsilon, factor, least;
  int64_t before, after;
  int quarters;          /* 1 to 4 */
  const int64_t *labels; /* [n][l], 0 to c - 1 */
  void *losses;          /* the same, of the arrays' dtype */
  ck_run run;            /* no workspace */
} ck_rows;

ck_status ck_rows_run(const ck_rows *call);

/* ------------------------------------------------------------------ descent */

/* A step of gradient descent over `count` adjacent elements of each array, in one pass; with g the gradient of w:
 *   d = g + l2 * w
 *   d = -R, if -inf < d < -R, or R, if R < d < inf;                     if there is an s: R = 2^63, in float64 2^511
 *   s = s_keep * s + s_take * d^2;  root = s_scale * sqrt(s) + eps, or 1 / R where that is 0
 *   d = d / root                                                        if there is, and s_first
 *   m = m_keep * m + m_take * d;  d = look * m + ahead * d              if there is an m
 *   d = d / root                                                        if there is an s, and not s_first
 *   w = keep * w - rate * d
 * A term whose l2 or ahead is 0 is left out: times infinity it would be NaN.
 * w, m and s are read and written; m and s may be NULL. No two arrays overlap. */
typedef struct ck_descent {
  int64_t count;
  const ck_kernels *kernels;
  void *w, *m, *s;
  const void *g;
  double rate, keep, l2, m_keep, m_take, look, ahead, s_keep, s_take, s_scale, eps;
  int s_first;
} ck_descent;

/* Steps of different arrays. No workspace. */
ck_status ck_descent_run(const ck_descent *calls, int64_t count, const ck_run *run);

/* ------------------------------------------------------------------ programs */

/* One call of a program, made once and run many times on other memory: `call` points to the struct of its family, whose
 * run is overwritten but for the threads, and whose pointer at byte `field` is bases[base] + offset + turn . step. */
typedef enum ck_step_kind {
  CK_STEP_CONV = 0,   /* op: ck_conv_op */
  CK_STEP_DEFORM = 1, /* forward */
  CK_STEP_POOL = 2,   /* ck_pool_op */
  CK_STEP_RESIZE = 3, /* ck_resize_op */
  CK_STEP_GRID = 4,   /* ck_grid_op */
  CK_STEP_ELEMENTWISE = 5,
  CK_STEP_CHANNELS = 6,
  CK_STEP_ROWS = 7,
  CK_STEP_NORMAL = 8, /* forward, `known` being NULL */
  CK_STEP_TURNS = 9,  /* no call: the steps behind it, so many of them, are taken in turn, again and again */
} ck_step_kind;

enum { CK_STEP_PLACES = 6, CK_TURN_AXES = 4, CK_ROOM = -1, CK_FIXED = -2 };
typedef struct ck_place {
  int field, base; /* CK_ROOM: in the memory of those who take the turn; CK_FIXED: the offset is an address */
  int64_t offset, step[CK_TURN_AXES];
} ck_place;

typedef struct ck_step {
  int kind, op;
  const void *call;
  int places;
  ck_place place[CK_STEP_PLACES];
  /* Of CK_STEP_TURNS, else 0: */
  int behind;                        /* how many steps */
  int64_t times, size[CK_TURN_AXES]; /* turns, and of what axes they are; the last is the fastest */
  int apart;               /* on so many threads turns run side by side, each call for one; 0: one after the other */
  int64_t room, workspace; /* of a turn, bytes, multiples of 64 */
} ck_step;

/* Runs them in turn. The workspace of `run` is the largest that one of them asks for; of turns, their room and their
 * workspace, for all threads that run them side by side. `seconds`, where not NULL, gets the time that each took, and
 * of turns the first what all did. */
ck_status ck_program_run(const ck_step *steps, int64_t count, char *const *bases, const ck_run *run, double *seconds);

/* ------------------------------------------------------------------ memory */

/* Blocks for results, aligned to 64 bytes. The system finds and zeroes fresh memory page by page, when it is first
 * written to, and that may take longer than the call; an allocator gives back what is large at once. So blocks of
 * CK_BLOCK_LEAST bytes and more are kept when they are given back, up to a limit (0 at first), and serve any request
 * that leaves no more than an eighth of them unused. Beyond the limit the one that was given back first is freed.
 * Any thread may call any of these at any time. */
enum { CK_BLOCK_LEAST = 1 << 17 }; /* from there on malloc, too, may ask the system for each anew */

void *ck_block_take(size_t bytes); /* NULL where the system refuses, even after all that was kept is freed */
void ck_block_give(void *block);   /* NULL: nothing */
size_t ck_block_bytes(const void *block);

void ck_blocks_limit(int64_t bytes); /* what exceeds it is freed at once */
void ck_blocks_clear(void);
int64_t ck_blocks_kept(void); /* bytes */

/* ------------------------------------------------------------------ machine */

const char *ck_isa_name(int isa);
int ck_isa_built(int isa);
int ck_isa_available(int isa); /* built in, and offered by CPU and operating system */
int ck_isa_current(void);
int ck_isa_set(int isa); /* 0, or -1 if it is not available */

/* What the dispatcher looks at, so that tests can show it synthetic machines. */
typedef struct ck_cpu {
  uint32_t leaf1_ecx, leaf7_ebx;
  uint64_t xcr0; /* 0 where OSXSAVE is off */
} ck_cpu;
int ck_isa_from_cpu(ck_cpu cpu); /* best of CK_GENERIC, CK_AVX2, CK_AVX512 */

const char *ck_compiler(void); /* such as "gcc 12.2.0" */

/* Who runs the threads of every call: a pool of the library's own, or OpenMP; in a forked child, where OpenMP would
 * hang, the pool. Where nobody chose it is OpenMP, and while other processes hold up its threads the pool. */
typedef enum ck_threading { CK_POOL = 0, CK_OPENMP = 1, CK_THREADINGS = 2 } ck_threading;
const char *ck_threading_name(int way);
int ck_threading_built(int way);
int ck_threading_current(void);
int ck_threading_set(int way); /* 0, or -1 if it is not built */
int ck_after_fork(void);       /* 1 in a forked child */

/* Multiply-add rate of the current instruction set, in FLOP/s, and triad bandwidth (a = b + s*c, three arrays of
 * `bytes` bytes each in `buffer`, write-allocate not counted), in bytes/s; best burst within `seconds`. */
double ck_measure_fma(int dtype, int threads, double seconds);
double ck_measure_triad(void *buffer, int64_t bytes, int threads, double seconds);
/* Multiply-adds of vectors that a core begins in a cycle, one or two, which plans follow from: timed at the first call
 * for an instruction set (less than 0.1 ms on a Zen 4). With AVX-512 one on a Zen 4, whose pipes are half as wide, and
 * on small Xeons, which lack a pipe. */
int ck_fma_per_cycle(const ck_kernels *kernels);

#endif
