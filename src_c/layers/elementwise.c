/* Element by element over arrays of any strides: axes that follow each other in memory become one; tasks are pieces of
 * the elements in their order, cut into blocks that level 1 holds. What is not adjacent in a block is gathered in
 * scratch.
 */
#include <string.h>

#include "base/dispatch.h"
#include "base/geometry.h"
#include "base/parallel.h"

/* PIECE and BLOCK: elements of a task, and of a block. SHORT: rows of fewer share blocks. */
enum { PIECE = 1 << 14, BLOCK = 1024, SHORT = BLOCK / 4, OPERANDS = 3 };

typedef struct elements {
  const ck_elementwise *call;
  int axes; /* the innermost first */
  int64_t size[CK_AXES], count;
  int operands;
  ck_strided of[OPERANDS]; /* y, a, and b, if there is one */
  int dense[OPERANDS];     /* whether elements lie side by side from the first to the last */
  int one;                 /* b has one element for each row, which are long */
} elements;

/* Whether axis `axis` of every operand goes on where the one inside it, `inner`, ends. */
static int continues(const ck_strided *const *of, int operands, int axis, int inner, int64_t size) {
  int so = 1;
  for (int o = 0; o < operands; o++)
    so &= of[o]->stride[axis] == of[o]->stride[inner] * size;
  return so;
}

/* Whether an array has one element for all along the innermost axis that has several. */
static int is_repeated(const ck_elementwise *call, const ck_strided *of) {
  int axis = call->axes - 1;
  while (axis > 0 && call->size[axis] == 1)
    axis--;
  return axis >= 0 && of->data && of->stride[axis] == 0;
}

/* Of a sum or a product the operand that is repeated is the second one. */
static elements simplified(const ck_elementwise *call) {
  const int turns = (call->op == CK_PLUS || call->op == CK_TIMES) && is_repeated(call, &call->a);
  const ck_strided *const of[OPERANDS] = {&call->y, turns ? &call->b : &call->a, turns ? &call->a : &call->b};
  elements e = {.call = call, .count = 1, .operands = call->b.data ? 3 : 2};
  int last = -1; /* the call's axis that was taken last */
  for (int i = call->axes - 1; i >= 0; i--) {
    e.count *= call->size[i];
    if (call->size[i] == 1)
      continue;
    if (last >= 0 && continues(of, e.operands, i, last, call->size[last])) {
      e.size[e.axes - 1] *= call->size[i];
    } else {
      e.size[e.axes] = call->size[i];
      for (int o = 0; o < e.operands; o++)
        e.of[o].stride[e.axes] = of[o]->stride[i];
      e.axes++;
    }
    last = i;
  }
  if (e.axes == 0)
    e.size[0] = e.axes = 1;
  for (int o = 0; o < e.operands; o++) {
    e.of[o].data = of[o]->data;
    e.dense[o] = e.of[o].stride[0] == call->kernels->real_size;
    for (int i = 1; i < e.axes; i++)
      e.dense[o] &= e.of[o].stride[i] == e.of[o].stride[i - 1] * e.size[i - 1];
  }
  e.one = call->op != CK_ACTIVATE_BACK && e.operands == 3 && e.of[2].stride[0] == 0 && e.size[0] >= SHORT;
  return e;
}

typedef struct place {
  int64_t at[CK_AXES];
  char *data;
} place;

static place place_of(const elements *e, const ck_strided *p, int64_t index) {
  place here = {.data = p->data};
  for (int i = 0; i < e->axes; i++) {
    here.at[i] = index % e->size[i];
    here.data += here.at[i] * p->stride[i];
    index /= e->size[i];
  }
  return here;
}

/* `count` elements on, at most to the end of the innermost axis. */
static void advance(const elements *e, const ck_strided *p, place *here, int64_t count) {
  here->at[0] += count;
  here->data += count * p->stride[0];
  for (int i = 0; i + 1 < e->axes && here->at[i] == e->size[i]; i++) {
    here->data += p->stride[i + 1] - e->size[i] * p->stride[i];
    here->at[i] = 0;
    here->at[i + 1]++;
  }
}

/* One element so many times. */
static void fill_run(char *dst, const char *src, int64_t count, int64_t item) {
  uint64_t element = 0;
  memcpy(&element, src, (size_t)item);
  for (int64_t i = 0; i < count && item == 4; i++)
    memcpy(dst + i * 4, &element, 4);
  for (int64_t i = 0; i < count && item == 8; i++)
    memcpy(dst + i * 8, &element, 8);
}

static void copy_run(char *dst, int64_t dst_step, const char *src, int64_t src_step, int64_t count, int64_t item) {
  if (dst_step == item && src_step == item) {
    memcpy(dst, src, (size_t)(count * item));
  } else if (dst_step == item && src_step == 0) {
    fill_run(dst, src, count, item);
  } else if (item == 4) {
    for (int64_t i = 0; i < count; i++)
      memcpy(dst + i * dst_step, src + i * src_step, 4);
  } else {
    for (int64_t i = 0; i < count; i++)
      memcpy(dst + i * dst_step, src + i * src_step, 8);
  }
}

/* A block of the operand into scratch, or out of it. */
static void copy_block(const elements *e, const ck_strided *p, int64_t first, int64_t count, char *scratch, int out) {
  const int64_t item = e->call->kernels->real_size, step = p->stride[0];
  place here = place_of(e, p, first);
  while (count > 0) {
    int64_t run = ck_min(count, e->size[0] - here.at[0]);
    copy_run(out ? here.data : scratch, out ? step : item, out ? scratch : here.data, out ? item : step, run, item);
    advance(e, p, &here, run);
    scratch += run * item;
    count -= run;
  }
}

/* Where an operand's block lies, if its elements are adjacent, or NULL. */
static char *adjacent(const elements *e, int o, int64_t first, int64_t count) {
  const int64_t item = e->call->kernels->real_size;
  const int in_row = first % e->size[0] + count <= e->size[0];
  if (e->dense[o])
    return (char *)e->of[o].data + first * item;
  return in_row && e->of[o].stride[0] == item ? place_of(e, &e->of[o], first).data : NULL;
}

static void run_block(const elements *e, int64_t first, int64_t count) {
  _Alignas(64) char scratch[OPERANDS][BLOCK * sizeof(double)];
  const ck_elementwise *c = e->call;
  const ck_kernels *k = c->kernels;
  char *at[OPERANDS] = {NULL};
  for (int o = 0; o < e->operands; o++) {
    at[o] = o == 2 && e->one ? place_of(e, &e->of[o], first).data : adjacent(e, o, first, count);
    if (!at[o] && o > 0)
      copy_block(e, &e->of[o], first, count, scratch[o], 0);
    if (!at[o])
      at[o] = scratch[o];
  }
  if (c->op == CK_ACTIVATE_BACK) {
    k->activation_gradient(at[0], at[1], at[2], count, c->activation, c->act_a, c->act_b);
  } else {
    if (c->op != CK_ACTIVATE)
      k->combine(at[0], at[1], at[2], count, c->op, e->one);
    else if (!c->activation)
      memcpy(at[0], at[1], (size_t)(count * k->real_size));
    if (c->activation)
      k->activate(at[0], at[c->op == CK_ACTIVATE], count, c->activation, c->act_a, c->act_b);
  }
  if (at[0] == scratch[0])
    copy_block(e, &e->of[0], first, count, scratch[0], 1);
}

/* Blocks end where a long row does, so that most lie in one. */
static void run_task(ck_worker *worker, void *context, int64_t index) {
  (void)worker;
  const elements *e = context;
  const int64_t row = e->size[0], end = ck_min(e->count, (index + 1) * PIECE);
  for (int64_t first = index * PIECE; first < end;) {
    int64_t count = ck_min(BLOCK, end - first);
    if (row >= SHORT)
      count = ck_min(count, row - first % row);
    run_block(e, first, count);
    first += count;
  }
}

ck_status ck_elementwise_run(const ck_elementwise *call) {
  elements e = simplified(call);
  return ck_parallel(ck_ceil_div(e.count, PIECE), run_task, &e, &call->run, NULL, 0);
}
