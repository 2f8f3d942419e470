/*
 * core_schema.c - the directives that belong to the core itself
 *
 * The table behind core_schema.h.  Read by gac_conf_load() and, as the module
 * "core", by snapshots.
 */
#include <unistd.h>

#include "conf/core_schema.h"
#include "conf/value.h"

#define MAX_WORKERS 256

#define GA_CF_SELF_ struct gac_core_conf
static const struct ga_conf_slot slots[] = { GAC_CORE_DIRECTIVES(GA_CF_SLOT_) };

const struct ga_conf_schema gac_core_schema = {
	GAC_CORE_DIRECTIVES(GA_CF_TEXT_), slots, sizeof slots / sizeof slots[0],
	sizeof(struct gac_core_conf)
};

unsigned gac_core_workers(const struct gac_core_conf *conf)
{
	int64_t n = 0;

	if (gac_value_int(conf->workers, &n) != NULL)
		n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : n > MAX_WORKERS ? MAX_WORKERS : (unsigned)n;
}
