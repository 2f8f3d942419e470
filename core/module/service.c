/*
 * service.c - services by name.
 *
 * Provided in init, on the main thread; looked up from any loop later.  The
 * table only ever grows, entries are never moved, and the number of entries is
 * published last, so look-ups need no lock.  The last provider of a name wins:
 * a second module replaces the first by the order of load_module alone.
 */
#include "config.h"

#include <stdatomic.h>
#include <string.h>

#include "module/inst.h"
#include "module/log.h"

#define SERVICES_MAX 128

static struct service {
	const char *name;
	uint32_t version;
	const void *vtable;
	const struct ga_inst *inst;		/* NULL: the core's; or withdrawn */
	_Atomic bool live;
} services[SERVICES_MAX];
static _Atomic unsigned count;

void
ga_service_provide(struct ga_inst *inst, const char *name, uint32_t version, const void *vtable)
{
	unsigned n = atomic_load(&count);

	if (n == SERVICES_MAX) {
		gac_log(GA_ERR, inst != NULL ? ga_inst_name(inst) : "core", "GA-SVC-0001",
		    "too many services: %s is not provided", name);
		return;
	}
	services[n].name = name;
	services[n].version = version;
	services[n].vtable = vtable;
	services[n].inst = inst;
	atomic_store(&services[n].live, true);
	atomic_store(&count, n + 1);
}

static bool
matches(const struct service *s, const char *name, uint32_t version)
{
	return atomic_load(&s->live) && s->version == version && strcmp(s->name, name) == 0;
}

const void *
ga_service_get(const char *name, uint32_t version)
{
	for (unsigned i = atomic_load(&count); i-- > 0;)
		if (matches(&services[i], name, version))
			return services[i].vtable;
	return NULL;
}

const void *
ga_service_nth(const char *name, uint32_t version, unsigned i, const char **module)
{
	unsigned n = atomic_load(&count);

	for (unsigned k = 0; k < n; k++)
		if (matches(&services[k], name, version) && i-- == 0) {
			if (module != NULL)
				*module = services[k].inst != NULL ? ga_inst_name(services[k].inst) : "core";
			return services[k].vtable;
		}
	return NULL;
}

void
gac_services_forget(const struct ga_inst *inst)
{
	unsigned n = atomic_load(&count);

	for (unsigned k = 0; k < n; k++)
		if (services[k].inst == inst)
			atomic_store(&services[k].live, false);
}
