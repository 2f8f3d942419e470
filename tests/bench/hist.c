/*
 * hist.c - see hist.h.  Used by the load generator for the time from the end of
 * DATA to the reply.  Values below 64 have a bucket each; above that a bucket is
 * named by the position of the highest bit and the six bits that follow it.
 */
#include "hist.h"

static unsigned
bucket_of(uint64_t value)
{
	unsigned shift;

	if (value < (1u << HIST_SUB_BITS))
		return (unsigned)value;
	shift = 63 - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
	return (shift << HIST_SUB_BITS) + (unsigned)(value >> shift);
}

/* The largest value that falls into the bucket. */
static uint64_t
bucket_top(unsigned b)
{
	unsigned shift;

	if (b < (2u << HIST_SUB_BITS))
		return b;
	shift = (b >> HIST_SUB_BITS) - 1;
	return (((uint64_t)(b - (shift << HIST_SUB_BITS)) + 1) << shift) - 1;
}

void
hist_add(struct hist *h, uint64_t value)
{
	h->count++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
	h->bucket[bucket_of(value)]++;
}

uint64_t
hist_percentile(const struct hist *h, double percent)
{
	uint64_t rank = (uint64_t)((double)h->count * percent / 100), seen = 0, top;

	for (unsigned b = 0; b < HIST_BUCKETS; b++) {
		seen += h->bucket[b];
		if (seen > rank || (seen && seen == h->count)) {
			top = bucket_top(b);
			return top < h->max ? top : h->max;
		}
	}
	return 0;
}
