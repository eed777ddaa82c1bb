/* The stage: a block's window of the input, copied un-expanded into scratch. */
#ifndef CK_STAGE_H
#define CK_STAGE_H

#include "pack.h"

#define COPY_TWICE(bytes)                                                                                              \
  if (n >= (bytes)) {                                                                                                  \
    __builtin_memcpy(dst, src, bytes);                                                                                 \
    __builtin_memcpy(dst + n - (bytes), src + n - (bytes), bytes);                                                     \
    return;                                                                                                            \
  }

/* n bytes by whole vectors, the last of them moved back: rows of 7 to 60 elements, for which memcpy's call is dear. */
CK_INLINE void copy_bytes(char *dst, const char *src, int64_t n) {
  if (n >= VBYTES) {
    for (int64_t i = 0; i <= n - VBYTES; i += VBYTES)
      v_storeu(dst + i, v_loadu(src + i));
    v_storeu(dst + n - VBYTES, v_loadu(src + n - VBYTES));
    return;
  }
  COPY_TWICE(32)
  COPY_TWICE(16)
  COPY_TWICE(8)
#if REAL_IS_FLOAT
  COPY_TWICE(4)
#endif
}

/* The same row of the next channel: planes lie too far apart for the machine to guess (8 % of a 64-channel layer). */
CK_INLINE void prefetch(const char *src, int64_t n) {
  for (int64_t i = 0; i < n; i += 64)
    __builtin_prefetch(src + i);
}

/* At least a vector of them: none is read beyond the last. Of fewer thirds and fourths, one by one is as fast as by
 * masks (Zen 4). */
CK_INLINE void copy_every(REAL *dst, const char *src, int64_t n, const int step) {
  for (int64_t next = 0; next < n; next += VL) {
    const int64_t i = next + VL > n ? n - VL : next;
    v_storeu(dst + i, every(src + step * i * (int64_t)sizeof(REAL), step));
  }
}

/* Every second of less than a vector: of more than half of one what is read from both ends is enough; of fewer, where
 * there are masks: 1x1 of 100 channels on 11x11 with a stride of 2 takes 0.93 of the time (Zen 4). */
CK_INLINE void copy_few_seconds(REAL *dst, const char *src, int64_t n) {
  const int64_t half = VBYTES / 2, size = sizeof(REAL);
  if (n <= VL / 2) {
    const vreal v = load_part(src, 2 * n - 1);
    store_part((char *)dst, SHUFFLE(v, v, EVEN), n);
    return;
  }
  const vreal ends = SHUFFLE(v_loadu(src), v_loadu(src + (2 * n - 1 - VL) * size), EVEN_ODD);
  __builtin_memcpy(dst, &ends, half);
  __builtin_memcpy(dst + n - VL / 2, (const char *)&ends + half, half);
}

/* n of the even ones and n of the odd ones: what is read once serves both. */
CK_INLINE void copy_evens_and_odds(REAL *evens, REAL *odds, const char *src, int64_t n) {
  for (int64_t next = 0; next < n; next += VL) {
    const int64_t i = next + VL > n ? n - VL : next;
    vreal even, odd;
    split_pair(src + 2 * i * (int64_t)sizeof(REAL), &even, &odd);
    v_storeu(evens + i, even);
    v_storeu(odds + i, odd);
  }
}

CK_INLINE void copy_strided(REAL *dst, int64_t dst_step, const char *src, int64_t src_step, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    dst[i * dst_step] = *(const real_u *)(src + i * src_step);
}

CK_INLINE void copy_span(REAL *dst, const char *src, ck_span span) {
  const int64_t size = sizeof(REAL);
  if (span.src_step == size)
    copy_bytes((char *)dst, src, span.length * size);
  else if (span.src_step == 2 * size && span.length >= VL)
    copy_every(dst, src, span.length, 2);
  else if (span.src_step == 2 * size && (MASKED_LANES || span.length > VL / 2))
    copy_few_seconds(dst, src, span.length);
  else if (span.src_step == 3 * size && span.length >= VL)
    copy_every(dst, src, span.length, 3);
  else if (VL > 2 && span.src_step == 4 * size && span.length >= VL) /* of two, the last vector but one is beyond */
    copy_every(dst, src, span.length, 4);
  else
    copy_strided(dst, 1, src, span.src_step, span.length);
}

/* Bytes from a run's first element to its last, where most lines between are read, and there are some. */
CK_INLINE int64_t reach_of(const ck_span *span) {
  const int64_t reach = span->length * span->src_step;
  return span->src_step > 0 && span->src_step <= 64 && reach > 128 ? reach : 0;
}

/* Whether two runs are every second element, one beginning beside the other, long enough to read less. */
CK_INLINE int are_between(const ck_span *a, const ck_span *b) {
  const int64_t size = sizeof(REAL), apart = b->src - a->src;
  return a->src_step == 2 * size && b->src_step == 2 * size && (apart == size || apart == -size) &&
         a->length >= 2 * VL && b->length >= 2 * VL;
}

/* Both of a pair. */
CK_INLINE void copy_pair(REAL *dst, const char *src, const ck_span *a, const ck_span *b) {
  const ck_span *even = a->src < b->src ? a : b, *odd = even == a ? b : a;
  const int64_t n = even->length < odd->length ? even->length : odd->length, both = 2 * (int64_t)sizeof(REAL);
  copy_evens_and_odds(dst + even->dst, dst + odd->dst, src + even->src, n);
  copy_strided(dst + even->dst + n, 1, src + even->src + n * both, both, even->length - n);
  copy_strided(dst + odd->dst + n, 1, src + odd->src + n * both, both, odd->length - n);
}

/* Rows shorter than a vector, of every second, third or fourth column: all that lies between the first and the last of
 * some rows is sorted, in whole vectors, into as many lines as the step, out of which each row is a copy of neighbours.
 */
enum { SORTED = 2048, SORTED_RUNS = 256 };

/* Bytes from a row's first element to the end of its last. */
CK_INLINE int64_t row_reach(const ck_stage *p) {
  int64_t end = 0;
  for (int64_t i = 0; i < p->spans; i++) {
    const int64_t last = p->span[i].src + (p->span[i].length - 1) * p->span[i].src_step;
    end = last > end ? last : end;
  }
  return end + (int64_t)sizeof(REAL);
}

/* The step that all spans have which are more than an element, of 2 to 4 elements, if all are shorter than a vector and
 * none begins before its row, as in an array that runs backwards; or 0. */
CK_INLINE int64_t step_of_spans(const ck_stage *p) {
  const int64_t size = sizeof(REAL);
  int64_t step = 0;
  for (int64_t i = 0; i < p->spans; i++) {
    const ck_span *span = &p->span[i];
    const int64_t each = span->src_step / size;
    if (span->length >= VL || span->src < 0 || span->src % size || span->src_step % size)
      return 0;
    if (span->length == 1)
      continue;
    if (each < 2 || each > 4 || (step && each != step))
      return 0;
    step = each;
  }
  return step;
}

/* The same, where rows follow each other so that at least half of what lies between is taken. */
CK_INLINE int64_t sorted_step(const ck_stage *p) {
  const int64_t size = sizeof(REAL), step = step_of_spans(p), apart = p->rows > 1 ? p->row_src[1] - p->row_src[0] : 0;
  if (step == 0 || apart <= 0 || apart % size || p->spans > SORTED_RUNS || row_reach(p) > (SORTED - step) * size)
    return 0;
  int64_t taken = 0;
  for (int64_t i = 0; i < p->spans; i++)
    taken += p->span[i].length;
  return 2 * taken * size >= apart ? step : 0;
}

/* As many rows from `row` on as fit; how many. */
static int64_t CK_NAME(stage_sorted)(const ck_stage *p, REAL *dst, const char *src, int64_t row, int64_t step) {
  const int64_t size = sizeof(REAL), line = SORTED / step, reach = row_reach(p), first = p->row_src[row];
  int32_t from[SORTED_RUNS], to[SORTED_RUNS], count[SORTED_RUNS];
  REAL lines[SORTED];
  int64_t runs = 0, length = 0, end = row;
  for (; end < p->rows && runs + p->spans <= SORTED_RUNS; end++) {
    const int64_t beyond = p->row_src[end] - first, next = (beyond + reach) / size;
    if (beyond % size || next < length || next > SORTED - step)
      break;
    length = next;
    for (int64_t i = 0; i < p->spans; i++, runs++) {
      const int64_t at = (beyond + p->span[i].src) / size;
      from[runs] = (int32_t)(at % step * line + at / step);
      to[runs] = p->row_dst[end] + p->span[i].dst;
      count[runs] = p->span[i].length * (int32_t)size;
    }
  }
  src += first;
  for (int64_t c = 0; c < p->channels; c++, dst += p->dst_channel, src += p->src_channel) {
    prefetch(src + p->src_channel, length * size);
    for (int64_t q = 0; q < step; q++) {
      const ck_span span = {.length = (int32_t)((length - q + step - 1) / step), .src_step = step * size};
      copy_span(lines + q * line, src + q * size, span);
    }
    for (int64_t i = 0; i < runs; i++)
      copy_bytes((char *)(dst + to[i]), (const char *)(lines + from[i]), count[i]);
  }
  return end - row;
}

/* Channels adjacent in memory and apart in the window: a run of positions of all of them, by VL x VL transposes.
 * Channel after channel each line would be read as often as it has elements: 397 to 2 channels, 5x1 on 59x59, took 3
 * times as long (Zen 3). */
static void CK_NAME(stage_turned)(const ck_stage *p, REAL *dst, const char *src, int64_t length, int64_t step) {
  const int64_t size = sizeof(REAL), channel = p->dst_channel;
  for (int64_t next = 0; next < length; next += VL) {
    const int64_t x = length >= VL && next + VL > length ? length - VL : next;
    const int64_t count = length - x < VL ? length - x : VL;
    for (int64_t c = 0; c < p->channels; c += VL) {
      const int64_t lanes = p->channels - c < VL ? p->channels - c : VL;
      const char *from = src + x * step + c * size;
      REAL *to = dst + c * channel + x;
      vreal r[VL];
      if (lanes == VL && count == VL) { /* without a test of each */
        CK_UNROLL
        for (int64_t q = 0; q < VL; q++)
          r[q] = v_loadu(from + q * step);
        transpose(r);
        CK_UNROLL
        for (int64_t q = 0; q < VL; q++)
          v_storeu(to + q * channel, r[q]);
        continue;
      }
      CK_UNROLL
      for (int64_t q = 0; q < VL; q++)
        r[q] = q < count ? load_upto(from + q * step, lanes, p->src_end) : (vreal){0};
      transpose(r);
      for (int64_t q = 0; q < lanes; q++)
        store_first((char *)(to + q * channel), r[q], count);
    }
  }
}

/* Whether that is worth it: of a few channels each line is read a few times. */
CK_INLINE int turns(const ck_stage *p, int64_t step) {
  return p->src_channel == sizeof(REAL) && step != sizeof(REAL) && 2 * p->channels > VL;
}

/* Positions adjacent in the window, one plane a channel. The first span that reads a row fetches that of the next
 * channel. */
CK_INLINE void stage_planes(const ck_stage *p, REAL *dst, const char *src) {
  const int64_t size = sizeof(REAL), rows = p->rows, spans = p->spans;
  const int32_t *row_dst = p->row_dst;
  const int64_t *row_src = p->row_src;
  if (spans && turns(p, p->span->src_step)) {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t i = 0; i < spans; i++)
        CK_NAME(stage_turned)(p, dst + row_dst[r] + p->span[i].dst, src + row_src[r] + p->span[i].src,
                              p->span[i].length, p->span[i].src_step);
    return;
  }
  const int64_t sorted = sorted_step(p);
  if (sorted) {
    for (int64_t row = 0; row < rows;)
      row += CK_NAME(stage_sorted)(p, dst, src, row, sorted);
    return;
  }
  for (int64_t c = 0; c < p->channels; c++, dst += p->dst_channel, src += p->src_channel) {
    for (int64_t i = 0; i < spans; i++) {
      const ck_span span = p->span[i];
      REAL *d = dst + span.dst;
      const char *s = src + span.src;
      if (span.src_step == size) {
        for (int64_t r = 0; r < rows; r++) {
          prefetch(s + row_src[r] + p->src_channel, span.length * size);
          copy_bytes((char *)(d + row_dst[r]), s + row_src[r], span.length * size);
        }
        continue;
      }
      if (span.length <= VL / 2) { /* few: no choice for each row */
        for (int64_t r = 0; r < rows; r++)
          copy_strided(d + row_dst[r], 1, s + row_src[r], span.src_step, span.length);
        continue;
      }
      const int64_t ahead = i == 0 ? reach_of(&span) : 0;
      if (i + 1 < spans && are_between(&span, &p->span[i + 1])) {
        for (int64_t r = 0; r < rows; r++) {
          prefetch(s + row_src[r] + p->src_channel, ahead);
          copy_pair(dst + row_dst[r], src + row_src[r], &span, &p->span[i + 1]);
        }
        i++;
        continue;
      }
      for (int64_t r = 0; r < rows; r++) {
        prefetch(s + row_src[r] + p->src_channel, ahead);
        copy_span(d + row_dst[r], s + row_src[r], span);
      }
    }
  }
}

/* Channels adjacent in the window. */
CK_INLINE void stage_interleaved(const ck_stage *p, REAL *dst, const char *src) {
  const int64_t size = sizeof(REAL), adjacent = p->src_channel == size && p->dst_channel == 1;
  for (int64_t r = 0; r < p->rows; r++) {
    for (int64_t i = 0; i < p->spans; i++) {
      ck_span span = p->span[i];
      REAL *d = dst + (p->row_dst[r] + span.dst) * p->dst_position;
      const char *s = src + p->row_src[r] + span.src;
      if (adjacent && span.src_step == p->channels * size && p->dst_position == p->channels) {
        copy_bytes((char *)d, s, span.length * p->channels * size);
        continue;
      }
      for (int64_t x = 0; x < span.length; x++, d += p->dst_position, s += span.src_step) {
        if (adjacent)
          copy_bytes((char *)d, s, p->channels * size);
        else
          copy_strided(d, p->dst_channel, s, p->src_channel, p->channels);
      }
    }
  }
}

/* Rows from r on, of which the span reads one after the other in memory. */
CK_INLINE int64_t rows_beside(const ck_stage *p, int64_t r) {
  const int64_t *src = p->row_src + r;
  int64_t rows = 1;
  while (p->spans == 1 && r + rows < p->rows && src[rows] - src[rows - 1] == p->span->length * p->span->src_step)
    rows++;
  return rows;
}

/* Stores the lanes of positions, from a row's column on. */
CK_INLINE void store_positions(const ck_stage *p, const vreal *r, int64_t count, const int32_t *row, int64_t column,
                               int64_t columns, REAL *dst) {
  CK_UNROLL
  for (int64_t q = 0; q < VL; q++) {
    if (q >= count)
      continue;
    if (column == columns) {
      row++;
      column = 0;
    }
    v_store(dst + (*row + column++) * p->dst_position, r[q]);
  }
}

/* Rows of a span that are one run of VL lanes, which lie apart in memory: VL x VL transposes. By itself, each row would
 * take as many shuffles as a vector: depthwise 3x3 of 8 images takes 0.81 of the time on 4x4, 0.89 on 8x8 (Zen 4). */
CK_INLINE void stage_lanes_transposed(const ck_stage *p, ck_span span, const int32_t *row, int64_t rows, REAL *dst,
                                      const char *src) {
  const int64_t size = sizeof(REAL), lanes = p->lanes, step = p->src_lane, length = rows * span.length;
  for (int64_t next = 0; next < length; next += VL) {
    const int64_t x = length >= VL && next + VL > length ? length - VL : next;
    const int64_t count = length - x < VL ? length - x : VL;
    const int32_t *at = row + x / span.length;
    const int64_t column = x % span.length;
    vreal r[VL];
    if (lanes >= VL && count == VL) { /* without a test of each */
      CK_UNROLL
      for (int64_t q = 0; q < VL; q++) {
        __builtin_prefetch(src + (q + VL) * step + x * size); /* of the lanes to come */
        r[q] = v_loadu(src + q * step + x * size);
      }
      transpose(r);
      store_positions(p, r, VL, at, column, span.length, dst);
      continue;
    }
    CK_UNROLL
    for (int64_t q = 0; q < VL; q++)
      r[q] = q < lanes ? load_upto(src + q * step + x * size, count, p->src_end) : (vreal){0};
    transpose(r);
    store_positions(p, r, count, at, column, span.length, dst);
  }
}

/* A vector of groups at each position. */
static void CK_NAME(stage_lanes)(const ck_stage *p, REAL *dst, const char *src) {
  const int64_t size = sizeof(REAL);
  for (int64_t c = 0; c < p->channels; c++, dst += p->dst_channel, src += p->src_channel) {
    for (int64_t r = 0, rows; r < p->rows; r += rows) {
      rows = p->src_lane != size && p->spans && p->span->src_step == size ? rows_beside(p, r) : 1;
      for (int64_t i = 0; i < p->spans; i++) {
        ck_span span = p->span[i];
        REAL *d = dst + (p->row_dst[r] + span.dst) * p->dst_position;
        const char *s = src + p->row_src[r] + span.src;
        if (span.src_step == size && p->src_lane != size) {
          stage_lanes_transposed(p, span, p->row_dst + r, rows, dst + span.dst * p->dst_position, s);
          continue;
        }
        for (int64_t x = 0; x < span.length; x++, d += p->dst_position, s += span.src_step) {
          if (p->src_lane == size) {
            v_store(d, load_first(s, p->lanes));
          } else {
            v_store(d, (vreal){0}); /* deformable gradients add lanes up: those that are not there must be zero */
            copy_strided(d, 1, s, p->src_lane, p->lanes);
          }
        }
      }
    }
  }
}

/* Channels that lie apart, whole vectors of them adjacent in the window: a vector after the other, from so many planes
 * as the machine follows. */
CK_INLINE void stage_vectors(const ck_stage *p, REAL *dst, const char *src) {
  ck_stage vector = *p;
  vector.channels = 1;
  vector.src_lane = p->src_channel;
  for (int64_t left = p->channels; left > 0; left -= VL, dst += VL, src += VL * p->src_channel) {
    vector.lanes = left < VL ? left : VL;
    CK_NAME(stage_lanes)(&vector, dst, src);
  }
}

/* So many vectors of every channel. */
CK_INLINE void band_vectors(const ck_stage *p, REAL *to, const char *src, int64_t vectors) {
  const int64_t to_step = p->dst_channel, step = p->src_channel;
  for (int64_t c = p->channels; c > 0; c--, to += to_step, src += step)
    for (int64_t j = 0; j < vectors; j++)
      v_storeu(to + j * VL, v_loadu(src + j * VBYTES));
}

/* n, less than a vector, before those that are whole. First in a band, a whole one is written: what follows belongs
 * to the next channel, or to what is copied later. */
CK_INLINE void band_rest(const ck_stage *p, REAL *to, const char *src, int64_t n, int first) {
  const int64_t to_step = p->dst_channel, step = p->src_channel;
  const char *end = p->src_end;
  for (int64_t c = p->channels; c > 0; c--, to += to_step, src += step) {
    const vreal v = load_upto(src, n, end);
    if (first)
      v_storeu(to, v);
    else
      store_part((char *)to, v, n);
  }
}

/* n positions of every channel, from place `at` of a band on. */
static void CK_NAME(stage_band)(const ck_stage *p, REAL *to, int64_t at, const char *src, int64_t n) {
  const int64_t vectors = n / VL, rest = n % VL;
  to += at;
  if (rest && at == 0)
    band_rest(p, to + vectors * VL, src + vectors * VBYTES, rest, 1);
  else if (rest)
    band_rest(p, to + vectors * VL, src + vectors * VBYTES, rest, 0);
  if (vectors == 1)
    band_vectors(p, to, src, 1);
  else if (vectors == 2)
    band_vectors(p, to, src, 2);
  else if (vectors > 2)
    band_vectors(p, to, src, vectors);
}

/* Parts of rows whose elements lie apart, each within a band: of one channel after the other, as they lie in memory.
 * Row by row, each would wait for the lines of every channel: 457 to 208 channels, 1x1 with a stride of 2 on 42 images
 * of 19x13, took 1.5 times as long (Zen 4). */
enum { BAND_PARTS = 64 };
typedef struct band_parts {
  int64_t count, from[BAND_PARTS], to[BAND_PARTS], length[BAND_PARTS];
} band_parts;

/* Parts from `first` on that follow one another in memory, as many as a line holds, and their length. */
enum { PARTS_LINE = 16 * VL };
CK_INLINE int64_t parts_beside(const band_parts *parts, int64_t first, int64_t step, int64_t *length) {
  int64_t i = first, sum = 0;
  for (; i < parts->count && sum + parts->length[i] <= PARTS_LINE; sum += parts->length[i++])
    if (parts->from[i] != parts->from[first] + sum * step)
      break;
  *length = sum;
  return i - first;
}

/* Every second, third or fourth element of parts that follow one another, by way of a line: of a part that is shorter
 * than a vector they would be copied one by one (53 to 4 channels, 1x1 with a stride of 3 on 134x134, took 2.6
 * times as long, Zen 5). */
static void CK_NAME(stage_beside)(const ck_stage *p, const band_parts *parts, int64_t first, int64_t count, REAL *to,
                                  const char *src, ck_span span) {
  const int64_t size = sizeof(REAL);
  REAL line[PARTS_LINE];
  src += parts->from[first];
  for (int64_t c = 0; c < p->channels; c++, to += p->dst_channel, src += p->src_channel) {
    const char *part = (const char *)line;
    copy_span(line, src, span);
    for (int64_t i = first; i < first + count; part += parts->length[i++] * size)
      copy_bytes((char *)(to + parts->to[i]), part, parts->length[i] * size);
  }
}

static void CK_NAME(stage_parts)(const ck_stage *p, band_parts *parts, REAL *to, const char *src, int64_t step) {
  int64_t left = 0;
  for (int64_t i = 0, length, beside; i < parts->count; i += beside) {
    beside = parts_beside(parts, i, step, &length);
    if (beside > 1 && length >= VL && step > 0 && step <= 4 * (int64_t)sizeof(REAL)) {
      const ck_span span = {.length = (int32_t)length, .src_step = step};
      CK_NAME(stage_beside)(p, parts, i, beside, to, src, span);
      continue;
    }
    beside = 1;
    parts->from[left] = parts->from[i];
    parts->to[left] = parts->to[i];
    parts->length[left++] = parts->length[i];
  }
  for (int64_t c = 0; c < p->channels && left > 0; c++, to += p->dst_channel, src += p->src_channel)
    for (int64_t i = 0; i < left; i++) {
      const ck_span span = {.length = (int32_t)parts->length[i], .src_step = step};
      copy_span(to + parts->to[i], src + parts->from[i], span);
    }
  parts->count = 0;
}

/* Rows that follow one another in memory are one. */
static void CK_NAME(stage_bands)(const ck_stage *p, REAL *dst, const char *src) {
  const int64_t step = p->spans ? p->span->src_step : 0, length = p->spans ? p->span->length : 0;
  int64_t rows = p->rows, row = length, band = 0, at = 0, size = p->bands.size;
  for (int64_t r = 1; r < rows; r++)
    row = p->row_src[r] - p->row_src[r - 1] == length * step ? row : 0;
  rows = row ? 1 : rows;
  row = row ? row * p->rows : length;
  band_parts parts;
  parts.count = 0;
  for (int64_t i = 0; i < p->images * rows; i++) {
    int64_t from = i / rows * p->src_image + p->row_src[i % rows] + p->span->src;
    for (int64_t left = row, n; left > 0; left -= n, from += n * step) {
      n = left < size - at ? left : size - at;
      REAL *to = dst + band * p->bands.apart;
      if (step == sizeof(REAL)) {
        CK_NAME(stage_band)(p, to, at, src + from, n);
      } else if (turns(p, step)) {
        CK_NAME(stage_turned)(p, to + at, src + from, n, step);
      } else {
        parts.from[parts.count] = from;
        parts.to[parts.count] = band * p->bands.apart + at;
        parts.length[parts.count++] = n;
      }
      at += n;
      if (parts.count == BAND_PARTS || (parts.count && i % rows == rows - 1 && n == left))
        CK_NAME(stage_parts)(p, &parts, dst, src, step);
      if (at < size)
        continue;
      at = 0;
      size = p->bands.size - (++band < p->bands.wider ? 0 : p->bands.less);
    }
  }
  for (int64_t c = 0; c < p->channels && at > 0; c++)
    for (int64_t j = at; j < size; j++)
      dst[band * p->bands.apart + c * p->dst_channel + j] = 0;
}

/* Bands are copied from so many planes at a time whose elements are neighbours. A line of each is read for a band or
 * two, and then for the next: by then it must not have left level 1, where lines a multiple of 4096 bytes apart meet in
 * one set, of eight. Of so many planes the machine guesses what comes. Of all planes at once 256 channels of 32x32 took
 * 2.4 times as long, and 128 from memory 1.3 to 2.8 times (Zen 3). The planes come in order: band_rest writes beyond.
 */
enum { PLANES_AT_ONCE = 8 };

static void CK_NAME(stage)(const ck_stage *p) {
  if (p->bands.count) {
    const int64_t most = p->spans && p->span->src_step == sizeof(REAL) ? PLANES_AT_ONCE : p->channels;
    ck_stage some = *p;
    for (int64_t c = 0; c < p->channels; c += most) {
      some.channels = p->channels - c < most ? p->channels - c : most;
      CK_NAME(stage_bands)(&some, (REAL *)p->dst + c * p->dst_channel, p->src + c * p->src_channel);
    }
    return;
  }
  for (int64_t i = 0; i < p->images; i++) {
    REAL *dst = (REAL *)p->dst + i * p->dst_image;
    const char *src = p->src + i * p->src_image;
    if (p->lanes)
      CK_NAME(stage_lanes)(p, dst, src);
    else if (p->dst_position == 1)
      stage_planes(p, dst, src);
    else if (p->src_channel != sizeof(REAL) && p->dst_position % VL == 0)
      stage_vectors(p, dst, src);
    else
      stage_interleaved(p, dst, src);
  }
}

#endif
