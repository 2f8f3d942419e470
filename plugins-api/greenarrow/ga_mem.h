/*
 * ga_mem.h - slices and pools: who owns what, and until when.
 *
 * Everything the core passes to a module is borrowed and const; it is valid
 * until the question is answered, also while the answer is suspended.  To keep
 * bytes longer, ga_dup() them into a pool of the right lifetime.  Pools are
 * freed as a whole; there is no way to free a part of one.
 */
#ifndef GREENARROW_GA_MEM_H
#define GREENARROW_GA_MEM_H

#include <greenarrow/ga_abi.h>

GA_BEGIN

/* A borrowed run of bytes.  Not NUL-terminated; NUL bytes are data. */
struct ga_str {
	const char *p;
	size_t n;
};

#ifdef __cplusplus
#define GA_STR(lit) (ga_str{ (lit), sizeof(lit) - 1 })
#else
#define GA_STR(lit) ((struct ga_str){ (lit), sizeof(lit) - 1 })
#endif

struct ga_pool;

enum ga_lifetime {
	GA_LIFE_CALL,		/* until this hook call is answered */
	GA_LIFE_TXN,		/* until the SMTP transaction ends */
	GA_LIFE_SESSION,	/* until the inbound connection closes */
	GA_LIFE_INSTANCE,	/* until this configured instance is destroyed */
	GA_LIFE_CONNECTION	/* until an outgoing connection gives its place in the group
				   back, whatever hosts it had tried before */
};

/*
 * n bytes, zeroed, aligned for any object, alive as long as the pool.  Never
 * NULL: exhaustion of memory ends the process with a message.  Any thread that
 * owns the pool (a pool is not locked).
 */
GA_EXPORT void *ga_alloc(struct ga_pool *, size_t n);
/* A copy of the bytes in the pool, followed by a NUL that is not counted. */
GA_EXPORT struct ga_str ga_dup(struct ga_pool *, struct ga_str);
/* printf into the pool; a NUL follows that is not counted. */
GA_EXPORT struct ga_str ga_fmt(struct ga_pool *, const char *fmt, ...) GA_PRINTF(2, 3);
/* A NUL-terminated copy; NULL if there is a NUL inside. */
GA_EXPORT const char *ga_cstr(struct ga_pool *, struct ga_str);
/* Run fn(arg) when the pool is freed, last registered first. */
GA_EXPORT void ga_on_free(struct ga_pool *, void (*fn)(void *arg), void *arg);

/*
 * A pool of the caller's own, first block of `hint` bytes (0: a default).
 * Debug and sanitizer builds give every object its own malloc, so that an
 * overrun is seen.  ga_pool_free(NULL) does nothing.
 */
GA_EXPORT struct ga_pool *ga_pool_new(size_t hint) GA_NODISCARD;
GA_EXPORT void ga_pool_free(struct ga_pool *);
/* Everything freed but the first block: ready for the next use. */
GA_EXPORT void ga_pool_reset(struct ga_pool *);

/* malloc, calloc and realloc that end the process instead of returning NULL. */
GA_EXPORT void *ga_xmalloc(size_t n) GA_NODISCARD;
GA_EXPORT void *ga_xcalloc(size_t n, size_t size) GA_NODISCARD;
GA_EXPORT void *ga_xrealloc(void *, size_t n) GA_NODISCARD;

GA_EXPORT bool ga_str_eq(struct ga_str, struct ga_str);
/* ASCII letters compare without case; other bytes as they are. */
GA_EXPORT bool ga_str_caseeq(struct ga_str, struct ga_str);
GA_EXPORT bool ga_str_starts(struct ga_str, struct ga_str prefix);
GA_EXPORT bool ga_str_ends(struct ga_str, struct ga_str suffix);
GA_EXPORT struct ga_str ga_str_c(const char *);	/* of a C string; NULL = empty */
GA_EXPORT struct ga_str ga_str_trim(struct ga_str);	/* blanks and tabs */
/* FNV-1a over the bytes, for tables in memory; ASCII case folded when asked. */
GA_EXPORT uint32_t ga_str_hash(struct ga_str, bool fold_case);

GA_END

#endif
