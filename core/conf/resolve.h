/*
 * resolve.h - which domain blocks match: the order of look-up
 */
#ifndef GAC_CONF_RESOLVE_H
#define GAC_CONF_RESOLVE_H

#include "conf/conf_tree.h"

struct gac_index;	/* the patterns of all domain blocks of a configuration */

struct gac_index *gac_index_new(struct ga_pool *, const struct gac_conf *);

/* Blocks, most specific first, each once.  free(v) unless v == inplace. */
struct gac_picks {
	const struct ga_object **v;
	size_t n, room;
	const struct ga_object *inplace[48];
};

void gac_picks_init(struct gac_picks *);
void gac_picks_add(struct gac_picks *, const struct ga_object *);
void gac_picks_free(struct gac_picks *);

/*
 * All blocks for a VirtualMTA (NULL: only what is said for all) and a domain,
 * in the order in which a directive is looked for.  Any thread; no lock.
 */
void gac_index_pick(const struct gac_index *, const struct ga_object *vmta, struct ga_str domain,
    const struct ga_str *mx, size_t nmx, struct gac_picks *);
/* Could an mx: pattern match for that VirtualMTA? */
bool gac_index_wants_mx(const struct gac_index *, const struct ga_object *vmta);

#endif
