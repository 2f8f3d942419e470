/*
 * connection.c - what modules keep with an outgoing connection (GA_LIFE_CONNECTION).
 *
 * A list in the object of the connection's owner, an entry for each instance that asked: as
 * a connection is used again after a reload, an old instance and its successor may both
 * be there.  Each entry holds the snapshot of its instance, which stays as long.  On
 * the connection's loop.
 */
#include "config.h"

#include <stdlib.h>

#include "module/call.h"

struct gac_kept {
	struct gac_kept *next;
	struct ga_inst *inst;
	struct ga_snapshot *snapshot;
	_Alignas(max_align_t) char state[];
};

void *
gac_connection_state(struct ga_call *call)
{
	struct ga_connection *c = call->run->connection;
	struct ga_inst *inst = call->step->inst;
	uint32_t size = inst->module->desc.connection_size;
	struct gac_kept *k = c->kept_;

	while (k != NULL && k->inst != inst)
		k = k->next;
	if (k != NULL || size == 0)
		return k != NULL ? k->state : NULL;
	k = ga_xcalloc(1, sizeof *k + size);
	k->inst = inst;
	k->snapshot = ga_snapshot_ref(ga_settings_snapshot(call->run->settings));
	k->next = c->kept_;
	c->kept_ = k;
	return k->state;
}

void
ga_connection_end(struct ga_connection *c)
{
	struct gac_kept *k;

	while ((k = c->kept_) != NULL) {
		c->kept_ = k->next;
		if (k->inst->module->desc.connection_end != NULL)
			k->inst->module->desc.connection_end(k->inst, k->state);
		ga_snapshot_unref(k->snapshot);
		free(k);
	}
}
