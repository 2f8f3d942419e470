/*
 * strmap.h - strings to pointers, built once and then only read
 *
 * Directive names, names of blocks and domain patterns are looked up by every
 * thread while nobody changes them any more, so the table needs no lock.  It
 * lives in a pool; growing leaves the old slots there (they are small).
 * Keys are borrowed: they must live as long as the map.
 */
#ifndef GAC_CONF_STRMAP_H
#define GAC_CONF_STRMAP_H

#include <greenarrow/ga_mem.h>

struct gac_strmap_slot {
	struct ga_str key;
	uint32_t hash;
	void *value;		/* NULL: the slot is free */
};

struct gac_strmap {
	struct ga_pool *pool;
	struct gac_strmap_slot *slots;
	uint32_t mask;		/* number of slots - 1; a power of two */
	uint32_t used;
	bool fold_case;
};

void gac_strmap_init(struct gac_strmap *, struct ga_pool *, bool fold_case);
/* value must not be NULL.  An existing key gets the new value. */
void gac_strmap_put(struct gac_strmap *, struct ga_str key, void *value);
void *gac_strmap_get(const struct gac_strmap *, struct ga_str key);
/* The same with ga_str_hash(key, fold_case) already at hand. */
void *gac_strmap_get_hashed(const struct gac_strmap *, struct ga_str key, uint32_t hash);

#endif
