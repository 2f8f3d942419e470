/*
 * strmap.c - strings to pointers, built once and then only read
 *
 * Open addressing with linear probing, at most half full.  Called while a
 * configuration is loaded (one thread) and, for reading only, by the resolver
 * from any thread.  There is no removal: nothing needs it.
 */
#include "conf/strmap.h"

#define FIRST_SLOTS 16

void gac_strmap_init(struct gac_strmap *m, struct ga_pool *pool, bool fold_case)
{
	*m = (struct gac_strmap){ .pool = pool, .fold_case = fold_case };
}

static bool same_key(const struct gac_strmap *m, struct ga_str a, struct ga_str b)
{
	return m->fold_case ? ga_str_caseeq(a, b) : ga_str_eq(a, b);
}

/* The slot that holds the key, or the free one where it belongs. */
static struct gac_strmap_slot *slot_of(const struct gac_strmap *m, struct ga_str key, uint32_t hash)
{
	for (uint32_t i = hash & m->mask;; i = (i + 1) & m->mask) {
		struct gac_strmap_slot *s = &m->slots[i];

		if (s->value == NULL || (s->hash == hash && same_key(m, s->key, key)))
			return s;
	}
}

static void grow(struct gac_strmap *m)
{
	struct gac_strmap old = *m;
	uint32_t n = old.slots == NULL ? FIRST_SLOTS : (old.mask + 1) * 2;

	m->slots = ga_alloc(m->pool, n * sizeof *m->slots);
	m->mask = n - 1;
	for (uint32_t i = 0; old.slots != NULL && i <= old.mask; i++) {
		const struct gac_strmap_slot *s = &old.slots[i];

		if (s->value != NULL)
			*slot_of(m, s->key, s->hash) = *s;
	}
}

void gac_strmap_put(struct gac_strmap *m, struct ga_str key, void *value)
{
	uint32_t hash = ga_str_hash(key, m->fold_case);
	struct gac_strmap_slot *s;

	if (m->slots == NULL || (m->used + 1) * 2 > m->mask)
		grow(m);
	s = slot_of(m, key, hash);
	if (s->value == NULL)
		m->used++;
	*s = (struct gac_strmap_slot){ key, hash, value };
}

void *gac_strmap_get_hashed(const struct gac_strmap *m, struct ga_str key, uint32_t hash)
{
	return m->slots == NULL ? NULL : slot_of(m, key, hash)->value;
}

void *gac_strmap_get(const struct gac_strmap *m, struct ga_str key)
{
	return gac_strmap_get_hashed(m, key, ga_str_hash(key, m->fold_case));
}
