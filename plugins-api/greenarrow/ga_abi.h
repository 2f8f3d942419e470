/*
 * ga_abi.h - what every module and the loader agree on before anything else.
 *
 * The head of a module descriptor is frozen for ever: a core of any age must be
 * able to read it from a module of any age and print a useful refusal.
 * Everything else in plugins-api/ is append-only within a major number.
 */
#ifndef GREENARROW_GA_ABI_H
#define GREENARROW_GA_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Major: an incompatible change.  Minor: something was appended. */
#define GA_ABI_MAJOR 1
#define GA_ABI_MINOR 5

#define GA_MAGIC 0x4741304du		/* "GA0M" */

/*
 * Binds a module of level strict to one build of plugins-api/.  The build sets
 * it to version + hash of the public headers; third parties leave it empty.
 */
#ifndef GA_BUILD_ID
#define GA_BUILD_ID ""
#endif

#define GA_EXPORT	__attribute__((visibility("default")))
#define GA_USED		__attribute__((used))
#define GA_NODISCARD	__attribute__((warn_unused_result))
#define GA_PRINTF(f, a)	__attribute__((format(printf, f, a)))

/* The length of a struct's open last array: C++ has none, and only reads through it. */
#ifdef __cplusplus
#define GA_FLEXIBLE 1
#else
#define GA_FLEXIBLE
#endif

#ifdef __cplusplus
#define GA_BEGIN extern "C" {
#define GA_END   }
#else
#define GA_BEGIN
#define GA_END
#endif

enum ga_abi_level {
	GA_ABI_STABLE = 0,	/* <greenarrow/greenarrow.h> only: major must match,
				   minor must not be newer than the core's */
	GA_ABI_STRICT = 1	/* also <greenarrow/service/...>: build id must match */
};

/* How every descriptor begins. */
struct ga_abi_head {
	uint32_t magic;		/* GA_MAGIC */
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t size;		/* sizeof(struct ga_module) as compiled */
	uint32_t level;		/* enum ga_abi_level */
	const char *name;	/* "throttle" */
	const char *build_id;	/* GA_BUILD_ID as compiled */
};

#ifndef __cplusplus
_Static_assert(offsetof(struct ga_abi_head, size) == 8, "frozen");
_Static_assert(offsetof(struct ga_abi_head, name) == 16, "frozen");
#endif

#endif
