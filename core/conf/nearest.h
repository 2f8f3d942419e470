/*
 * nearest.h - "did you mean": the known name closest to a mistyped one
 */
#ifndef GAC_CONF_NEAREST_H
#define GAC_CONF_NEAREST_H

#include <greenarrow/ga_mem.h>

struct gac_nearest {
	struct ga_str typed;
	struct ga_str best;	/* empty: nothing close enough */
	unsigned distance;
};

void gac_nearest_init(struct gac_nearest *, struct ga_str typed);
void gac_nearest_offer(struct gac_nearest *, struct ga_str known);
/* "; did you mean `x`?" or "". */
const char *gac_nearest_hint(const struct gac_nearest *, struct ga_pool *);

#endif
