/*
 * hist.h - a histogram of durations with a fixed relative error.
 *
 * 64 buckets to each power of two: a percentile read from it is at most 1.6 %
 * too high.  Adding costs no allocation and no division.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 6
#define HIST_BUCKETS ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	uint64_t count, sum, max;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *, uint64_t value);
/* The value below which `percent` of all lie; 0 when empty. */
uint64_t hist_percentile(const struct hist *, double percent);

#endif
