/*
 * fuzz.h - what makes a fuzz target an ordinary test too.
 *
 * A target defines LLVMFuzzerTestOneInput(), which aborts when a property does
 * not hold, and lists a few inputs with FUZZ_MAIN().  Built --with-fuzzer it is a
 * libFuzzer program; otherwise main() runs the inputs, every beginning of them,
 * and FUZZ_ROUNDS mutations of each from a fixed seed.
 */
#ifndef GA_TESTS_FUZZ_FUZZ_H
#define GA_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define FUZZ_CHECK(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: %s does not hold\n",		\
			    __FILE__, __LINE__, #condition);			\
			abort();						\
		}								\
	} while (0)

struct fuzz_input {
	const char *p;
	size_t n;
};
#define FUZZ_INPUT(s) { s, sizeof(s) - 1 }

enum { FUZZ_ROUNDS = 2000 };

/* An own copy of exactly n octets, so that a sanitizer sees one octet too many. */
static inline void fuzz_one(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n > 0 ? n : 1);

	if (copy == NULL)
		abort();
	if (n > 0)
		memcpy(copy, p, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static inline uint32_t fuzz_random(void)
{
	static uint64_t s = 0x9e3779b97f4a7c15u;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return (uint32_t)(s >> 32);
}

static inline void fuzz_mutate(const struct fuzz_input *in)
{
	static const uint8_t nasty[] = { 0, '\r', '\n', ' ', '<', '>', '@', '"', '\\', '[', ']', '.', '-', ':', ',', '+', '=',
		0x7f, 0x80, 0xc2, 0xc3, 0xed, 0xf4, 0xff };
	uint8_t buf[4096];
	size_t n = in->n < sizeof(buf) - 16 ? in->n : sizeof(buf) - 16;

	memcpy(buf, in->p, n);
	for (uint32_t edits = 1 + fuzz_random() % 4; edits > 0 && n > 0; edits--) {
		size_t at = fuzz_random() % n;
		uint8_t with = fuzz_random() % 2 ? nasty[fuzz_random() % sizeof(nasty)] : (uint8_t)fuzz_random();

		switch (fuzz_random() % 3) {
		case 0:
			buf[at] = with;
			break;
		case 1:
			memmove(buf + at + 1, buf + at, n - at);
			buf[at] = with;
			n++;
			break;
		default:
			n--;
			memmove(buf + at, buf + at + 1, n - at);
		}
	}
	fuzz_one(buf, n);
}

static inline void fuzz_run(const struct fuzz_input *in)
{
	for (size_t n = 0; n <= in->n; n++)
		fuzz_one((const uint8_t *)in->p, n);
	for (int i = 0; i < FUZZ_ROUNDS; i++)
		fuzz_mutate(in);
}

#ifdef GA_LIBFUZZER
#define FUZZ_MAIN(inputs)							\
	_Static_assert(sizeof(inputs) > 0, "libFuzzer brings its own main")
#else
#define FUZZ_MAIN(inputs)							\
	int main(void)								\
	{									\
		for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++)	\
			fuzz_run(&inputs[i]);					\
		return 0;							\
	}									\
	_Static_assert(sizeof(inputs) > 0, "something to run")
#endif

#endif
