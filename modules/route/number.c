/*
 * number.c - the numbers in the keys of throttle groups: mta_id and rules' ids.
 *
 * Who has none written gets one made from the names that it stands under, so it is the
 * same after a reload and a restart, wherever in the file the block stands.  check() makes
 * sure that no two of what can meet in a key have one number.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "route.h"

#define MADE_MIN 1000000u	/* below are those that people write */
#define MADE_N 999000000u

static const char *const limits[] = { "max_concurrent_connections", "max_delivery_rate",
	"max_delivery_burst", "max_connection_rate", "throttle_program" };
#define LIMITS (sizeof limits / sizeof *limits)

static const struct route_conf *
conf_of(struct ga_snapshot *snap, const struct ga_object *o)
{
	return ga_settings_conf(ga_snapshot_object(snap, o), "route");
}

static uint32_t
made(const struct ga_object *object)
{
	uint32_t hash = 0;

	for (const struct ga_object *o = object; o != NULL; o = ga_object_parent(o)) {
		struct ga_strlist names = ga_object_patterns(o);

		for (size_t i = 0; i < names.n; i++)
			hash = hash * 31 + ga_str_hash(names.v[i], true);
	}
	return MADE_MIN + hash % MADE_N;
}

uint32_t
rt_number_mta(struct ga_snapshot *snap, const struct ga_object *mta)
{
	const struct route_conf *c = conf_of(snap, mta);

	return c->mta_id > 0 ? (uint32_t)c->mta_id : made(mta);
}

uint32_t
rt_number_rule(struct ga_snapshot *snap, const struct ga_object *rule)
{
	const struct route_conf *c = conf_of(snap, rule);

	return c->id > 0 ? (uint32_t)c->id : made(rule);
}

const char *
rt_number_kind(const struct ga_object *rule)
{
	const struct ga_object *parent = ga_object_parent(rule);

	return parent != NULL && strcmp(ga_object_context(parent), "throttle_template") == 0 ? "tt" : "pd";
}

static bool
is_rule(const struct ga_object *o)
{
	const char *context = ga_object_context(o);

	return strcmp(context, "domain") == 0 || strcmp(context, "rule") == 0;
}

const struct ga_object *
rt_number_limiting(const struct ga_settings *settings, const char **limit)
{
	const struct ga_object *best = NULL;
	unsigned lowest = UINT_MAX;

	for (size_t i = 0; i < LIMITS; i++) {
		const struct ga_object *o = ga_settings_source(settings, "throttle", limits[i]);
		unsigned rank = o != NULL && is_rule(o) ? ga_settings_rank(settings, o) : UINT_MAX;

		if (rank < lowest) {
			lowest = rank;
			best = o;
			*limit = limits[i];
		}
	}
	return best;
}

/* --- check --- */

struct number {
	const struct ga_object *object;
	uint32_t n;
};

struct numbers {
	struct number *v;
	size_t n, room;
};

static void
add(struct numbers *list, const struct ga_object *o, uint32_t n)
{
	if (list->n == list->room) {
		list->room = list->room > 0 ? list->room * 2 : 64;
		list->v = ga_xrealloc(list->v, list->room * sizeof *list->v);
	}
	list->v[list->n++] = (struct number){ o, n };
}

static int
by_number(const void *a, const void *b)
{
	const struct number *x = a, *y = b;
	uint32_t xi = ga_object_index(x->object), yi = ga_object_index(y->object);

	if (x->n != y->n)
		return x->n < y->n ? -1 : 1;
	return xi < yi ? -1 : xi > yi;
}

/* For everybody: at the top level, or in `ip_address *`. */
static bool
everywhere(const struct ga_object *parent)
{
	return parent == NULL || ga_str_eq(ga_object_name(parent), GA_STR("*"));
}

/* True when one VirtualMTA can be under both rules, in keys of one kind. */
static bool
meet(const struct ga_object *a, const struct ga_object *b)
{
	const struct ga_object *x = ga_object_parent(a), *y = ga_object_parent(b);

	return strcmp(rt_number_kind(a), rt_number_kind(b)) == 0 &&
	    (everywhere(x) || everywhere(y) || x == y);
}

static bool
check_numbers(struct numbers *list, const char *directive, bool rules, struct ga_diag *diag)
{
	bool good = true;

	if (list->n > 0)
		qsort(list->v, list->n, sizeof *list->v, by_number);
	for (size_t i = 0; i < list->n; i++)
		for (size_t k = i + 1; k < list->n && list->v[k].n == list->v[i].n; k++) {
			const struct ga_object *a = list->v[i].object, *b = list->v[k].object;

			if (rules && !meet(a, b))
				continue;
			good = false;
			ga_diag_error(diag, NULL, "%s: %s \"%.*s\" (%s) and %s \"%.*s\" (%s) have one number, %u: "
			    "write another %s", directive, ga_object_context(a), (int)ga_object_name(a).n,
			    ga_object_name(a).p, ga_object_where(a), ga_object_context(b),
			    (int)ga_object_name(b).n, ga_object_name(b).p, ga_object_where(b),
			    (unsigned)list->v[i].n, directive);
		}
	free(list->v);
	return good;
}

static bool
sets_limit(const struct ga_object *o)
{
	for (size_t i = 0; i < LIMITS; i++)
		if (ga_object_has(o, "throttle", limits[i]))
			return true;
	return false;
}

static void
add_rules(struct numbers *list, struct ga_snapshot *snap, const struct ga_object *parent)
{
	static const char *const contexts[] = { "domain", "rule" };

	for (int i = 0; i < 2; i++)
		for (const struct ga_object *o = ga_object_first(snap, parent, contexts[i]); o != NULL;
		    o = ga_object_next(o))
			if (sets_limit(o))
				add(list, o, rt_number_rule(snap, o));
}

bool
rt_number_check(struct ga_snapshot *snap, struct ga_diag *diag)
{
	static const char *const contexts[] = { "ip_address", "relay_server", "routing_rule",
		"throttle_template" };
	struct numbers mtas = { NULL, 0, 0 }, rules = { NULL, 0, 0 };
	bool good;

	add_rules(&rules, snap, NULL);
	for (int i = 0; i < 4; i++)
		for (const struct ga_object *o = ga_object_first(snap, NULL, contexts[i]); o != NULL;
		    o = ga_object_next(o)) {
			add_rules(&rules, snap, o);
			if (i < 3 && !ga_str_eq(ga_object_name(o), GA_STR("*")))
				add(&mtas, o, rt_number_mta(snap, o));
		}
	good = check_numbers(&mtas, "mta_id", false, diag);
	return check_numbers(&rules, "id", true, diag) && good;
}
