/* Pooling: moves by index. */
#ifndef CK_POOL_POINTS_KERNEL_H
#define CK_POOL_POINTS_KERNEL_H

#include "pool.h"

CK_INLINE int64_t pool_offset(const ck_pool_points *p, int64_t e) {
  if (p->step)
    return e * p->step;
  int64_t row = e / p->size[2];
  return row / p->size[1] * p->stride[0] + row % p->size[1] * p->stride[1] + e % p->size[2] * p->stride[2];
}

/* `adjacent`: all of them, in one plane. */
CK_INLINE int pool_run(const ck_pool_points *p, const int op, const int adjacent) {
  const int64_t size = sizeof(REAL), point_step = adjacent ? size : p->point_step;
  const int64_t plane_step = adjacent ? 0 : p->plane_step, index_step = adjacent ? 8 : p->index_step;
  const uint64_t elements = (uint64_t)p->elements;
  char *plane = p->plane, *point = p->points;
  const char *at = p->index;
  for (int64_t i = 0; i < p->count; i++, plane += plane_step, point += point_step, at += index_step) {
    int64_t e = *(const long_u *)at;
    if ((uint64_t)e >= elements) {
      if (op == CK_POOL_SCATTER_ADD && e == -1)
        continue;
      return 0;
    }
    if (op == CK_POOL_CHECK)
      continue;
    real_u *element = (real_u *)(plane + (adjacent ? e * size : pool_offset(p, e))), *value = (real_u *)point;
    if (op == CK_POOL_SCATTER_ADD)
      *element += *value;
    else if (op == CK_POOL_SCATTER)
      *element = *value;
    else
      *value = *element;
  }
  return 1;
}

CK_INLINE int pool_line(const ck_pool_points *p, const int op) {
  const int64_t size = sizeof(REAL);
  if (p->step == size && p->point_step == size && p->plane_step == 0 && p->index_step == sizeof(int64_t))
    return pool_run(p, op, 1);
  return pool_run(p, op, 0);
}

static int CK_NAME(pool_points)(const ck_pool_points *p) {
  switch (p->op) {
  case CK_POOL_SCATTER_ADD:
    return pool_line(p, CK_POOL_SCATTER_ADD);
  case CK_POOL_SCATTER:
    return pool_line(p, CK_POOL_SCATTER);
  case CK_POOL_GATHER:
    return pool_line(p, CK_POOL_GATHER);
  default:
    return pool_line(p, CK_POOL_CHECK);
  }
}

#endif
