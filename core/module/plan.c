/*
 * plan.c - which functions a hook calls in a scope.
 *
 * A plan is made once for each scope of a snapshot, of the modules that are on
 * there (use_module decides) and that want its settings (`wants` of the
 * descriptor), and lives as long as the snapshot.  A hook that nobody subscribed
 * to is a NULL, so that running it costs one load and one branch.  The order is
 * that of load_module.
 */
#include "config.h"

#include <string.h>

#include "module/inst.h"

#define V(verdict) (1u << GA_##verdict)
#define REFUSE (V(TEMPFAIL) | V(REJECT))

/* As ga_hook.h says at each event. */
enum {
	MAY_connect = V(ACCEPT) | REFUSE | V(CLOSE),
	MAY_helo = V(ACCEPT) | REFUSE | V(CLOSE),
	MAY_mail = V(ACCEPT) | REFUSE | V(CLOSE) | V(DISCARD) | V(HOLD),
	MAY_rcpt = V(ACCEPT) | REFUSE | V(CLOSE) | V(DISCARD) | V(HOLD),
	MAY_header = REFUSE | V(CLOSE) | V(DISCARD) | V(HOLD),
	MAY_body = REFUSE | V(CLOSE) | V(DISCARD) | V(HOLD),
	MAY_eom = REFUSE | V(CLOSE) | V(DISCARD) | V(HOLD),
	MAY_queue_commit = V(ACCEPT) | REFUSE | V(DISCARD) | V(HOLD),
	MAY_schedule = V(HOLD),
	MAY_route = V(ACCEPT) | REFUSE,
	MAY_acquire = V(HOLD),
	MAY_outgoing = REFUSE,
	MAY_auth = V(ACCEPT) | REFUSE | V(CLOSE),
	MAY_result = V(ACCEPT) | REFUSE
};

#define ASKED(n, class) [GA_HOOK_##n] = { #n, class, offsetof(struct ga_hooks, n), MAY_##n },
#define GA_DECIDE(n, ev) ASKED(n, GAC_DECIDE)
#define GA_SHAPE(n, ev)  ASKED(n, GAC_SHAPE)
#define GA_PERMIT(n, ev) ASKED(n, GAC_PERMIT)
#define GA_AMEND(n, ev)  ASKED(n, GAC_AMEND)
#define GA_WATCH(n, ev)  [GA_HOOK_##n] = { #n, GAC_WATCH, offsetof(struct ga_hooks, n), 0 },
const struct gac_hook gac_hooks[GA_HOOK_COUNT_] = {
#include <greenarrow/ga_hook.def>
};
#undef GA_DECIDE
#undef GA_SHAPE
#undef GA_PERMIT
#undef GA_AMEND
#undef GA_WATCH

typedef void any_fn(void);

static any_fn *
subscribed(const struct ga_inst *inst, enum ga_hook_id hook)
{
	any_fn *fn;

	memcpy(&fn, (const char *)&inst->module->hooks + gac_hooks[hook].offset, sizeof fn);
	return fn;
}

/* A hook's steps, followed by one without a function; NULL when there is none. */
static const struct ga_step *
keep(struct ga_pool *pool, const struct ga_step *steps, unsigned n)
{
	struct ga_step *kept;

	if (n == 0)
		return NULL;
	kept = ga_alloc(pool, (n + 1) * sizeof *kept);
	memcpy(kept, steps, n * sizeof *kept);
	return kept;
}

const struct ga_plan *
gac_plan_build(struct ga_pool *pool, struct ga_inst *const *insts, unsigned n, uint64_t modules,
    gac_hook_wanted_fn *wanted, const void *arg)
{
	struct ga_plan *plan = ga_alloc(pool, sizeof *plan);

	plan->modules = modules;
	for (int hook = 0; hook < GA_HOOK_COUNT_; hook++) {
		struct ga_step steps[GAC_MODULES_MAX];
		unsigned count = 0;

		for (unsigned i = 0; i < n; i++)
			if (insts[i] != NULL && (modules >> i & 1) != 0 &&
			    subscribed(insts[i], (enum ga_hook_id)hook) != NULL &&
			    wanted(arg, insts[i], gac_hooks[hook].name)) {
				steps[count].fn.any = subscribed(insts[i], (enum ga_hook_id)hook);
				steps[count++].inst = insts[i];
			}
		plan->hooks[hook] = keep(pool, steps, count);
	}
	return plan;
}

const struct ga_plan *
gac_plan_copy_without(struct ga_pool *pool, const struct ga_plan *plan, const struct ga_inst *inst)
{
	struct ga_plan *copy = ga_alloc(pool, sizeof *copy);

	copy->modules = plan->modules;
	for (int hook = 0; hook < GA_HOOK_COUNT_; hook++) {
		struct ga_step steps[GAC_MODULES_MAX];
		unsigned count = 0;

		for (const struct ga_step *s = plan->hooks[hook]; s != NULL && s->fn.any != NULL; s++)
			if (s->inst != inst)
				steps[count++] = *s;
		copy->hooks[hook] = keep(pool, steps, count);
	}
	return copy;
}
