/*
 * mta.c - VirtualMTAs: from the name that a message carries to the ip_address or
 * relay_server that this attempt goes through.
 *
 * Routing rules draw by weight, redirects are followed; check() has made sure
 * that neither runs in a circle.  Everything is looked up afresh at each attempt
 * in the snapshot in force, so a reload moves queued mail.
 */
#include <stdlib.h>
#include <string.h>

#include "route.h"

#define HOPS_MAX 16
#define WEIGHT_MAX 1000000

static const char *const kinds[] = { "ip_address", "relay_server", "routing_rule" };
enum { KIND_IP, KIND_RELAY, KIND_RULE, KINDS };

static const struct ga_object *
find(struct ga_snapshot *snap, struct ga_str name, int *kind)
{
	if (ga_str_eq(name, GA_STR("*")))
		return NULL;		/* settings for all, not a VirtualMTA */
	for (*kind = 0; *kind < KINDS && name.n > 0; ++*kind) {
		const struct ga_object *o = ga_object_find(snap, kinds[*kind], name);

		if (o != NULL)
			return o;
	}
	return NULL;
}

/* By number too: "2" is the VirtualMTA whose mta_id is 2. */
static const struct ga_object *
find_by_id(struct ga_snapshot *snap, struct ga_str name, int *kind)
{
	long id = 0;

	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] < '0' || name.p[i] > '9' || id > 100000000)
			return NULL;
		id = id * 10 + (name.p[i] - '0');
	}
	for (*kind = 0; id > 0 && *kind < KINDS; ++*kind)
		for (const struct ga_object *o = ga_object_first(snap, NULL, kinds[*kind]); o != NULL;
		    o = ga_object_next(o)) {
			if (!ga_str_eq(ga_object_name(o), GA_STR("*")) && rt_number_mta(snap, o) == id)
				return o;
		}
	return NULL;
}

bool
rt_mta_known(struct ga_snapshot *snap, struct ga_str name)
{
	int kind;

	return find(snap, name, &kind) != NULL || find_by_id(snap, name, &kind) != NULL;
}

static struct ga_str
default_name(struct ga_snapshot *snap)
{
	const struct route_conf *c = ga_settings_conf(ga_snapshot_general(snap), "route");

	return c->default_virtual_mta;
}

static const struct route_conf *
conf_of(struct ga_snapshot *snap, const struct ga_object *o)
{
	return ga_settings_conf(ga_snapshot_object(snap, o), "route");
}

static uint32_t
weight_of(struct ga_strlist item)
{
	return item.n < 2 ? 1 : (uint32_t)strtoul(item.v[1].p, NULL, 10);
}

static uint32_t
mix(uint64_t key)
{
	key ^= key >> 33;
	key *= 0xff51afd7ed558ccdull;
	key ^= key >> 33;
	key *= 0xc4ceb9fe1a85ec53ull;
	return (uint32_t)(key >> 32);
}

/* A routing rule's own domain blocks come before it. */
static const struct route_conf *
rule_conf(struct ga_snapshot *snap, const struct ga_object *rule, struct ga_str domain)
{
	if (ga_object_first(snap, rule, "domain") == NULL)
		return conf_of(snap, rule);
	return ga_settings_conf(ga_snapshot_resolve(snap, ga_object_name(rule), domain, NULL, 0), "route");
}

/* One of the rule's VirtualMTAs, by weight.  salt: of the rule, lest a rule within a
 * rule draws what the outer one drew. */
static struct ga_strlist
draw(const struct route_conf *c, uint64_t total, uint64_t salt, const struct ga_route_request *req)
{
	uint64_t at;
	uint32_t random;

	random = c->randomization == 0 ? ga_random32() :
	    mix((c->randomization == 1 ? req->message_key : req->address_key) ^ salt);
	at = (uint64_t)random * total >> 32;
	for (size_t i = 0; i < c->deliver_through.n; i++) {
		uint64_t weight = weight_of(c->deliver_through.v[i]);

		if (at < weight)
			return c->deliver_through.v[i];
		at -= weight;
	}
	return c->deliver_through.v[0];
}

static void
say_drawn(struct json_object *facts, const struct ga_object *rule, const struct route_conf *c,
    struct ga_strlist chosen, uint64_t total)
{
	static const char *const kept[] = { "drawn anew at each attempt", "kept for a message",
		"kept for an address" };
	const struct ga_fact fact = { .what = "routing_rule", .where = ga_object_where(rule) };

	if (facts != NULL)
		ga_explain_say(facts, &fact, "The routing rule \"%.*s\" chose \"%.*s\": weight %u of %llu, %s.",
		    (int)ga_object_name(rule).n, ga_object_name(rule).p, (int)chosen.v[0].n, chosen.v[0].p,
		    (unsigned)weight_of(chosen), (unsigned long long)total, kept[c->randomization]);
}

/* The VirtualMTA behind a rule; "" : it has none. */
static struct ga_str
drawn(const struct ga_object *rule, const struct route_conf *c, const struct ga_route_request *req,
    struct json_object *facts)
{
	uint64_t total = 0;
	struct ga_strlist chosen;

	for (size_t i = 0; i < c->deliver_through.n; i++)
		total += weight_of(c->deliver_through.v[i]);
	if (total == 0)
		return (struct ga_str){ NULL, 0 };
	chosen = draw(c, total, (uint64_t)ga_str_hash(ga_object_name(rule), true) << 32, req);
	say_drawn(facts, rule, c, chosen, total);
	return chosen.v[0];
}

static void
say_unknown(struct ga_str name)
{
	static _Atomic uint64_t last;
	uint64_t now = ga_mono_us() / 1000000;

	if (last == now)
		return;
	last = now;
	ga_log(rt_inst, GA_WARN, "GA-RTE-0001", "unknown VirtualMTA \"%.*s\": the default is used",
	    (int)name.n, name.p);
}

/* The first ip_address that is not `*`, when there is no default. */
static const struct ga_object *
first_ip(struct ga_snapshot *snap)
{
	const struct ga_object *o = ga_object_first(snap, NULL, "ip_address");

	while (o != NULL && ga_str_eq(ga_object_name(o), GA_STR("*")))
		o = ga_object_next(o);
	return o;
}

static void
say_default(struct json_object *facts, struct ga_snapshot *snap, struct ga_str name,
    const struct ga_object *o)
{
	struct ga_fact fact = { .what = "virtual_mta",
		.where = ga_settings_where(ga_snapshot_general(snap), "route", "default_virtual_mta") };

	if (o == NULL)
		ga_explain_say(facts, &fact, "No VirtualMTA is configured: the system chooses the source address.");
	else if (name.n > 0)
		ga_explain_say(facts, &fact, "There is no VirtualMTA \"%.*s\": the default, \"%.*s\", is used.",
		    (int)name.n, name.p, (int)ga_object_name(o).n, ga_object_name(o).p);
	else
		ga_explain_say(facts, &fact, "The mail names no VirtualMTA: the default, \"%.*s\", is used.",
		    (int)ga_object_name(o).n, ga_object_name(o).p);
}

static const struct ga_object *
find_or_default(struct ga_snapshot *snap, struct ga_str name, int *kind, struct json_object *facts)
{
	const struct ga_object *o = find(snap, name, kind);

	if (o == NULL)
		o = find_by_id(snap, name, kind);
	if (o != NULL)
		return o;
	if (name.n > 0 && facts == NULL)
		say_unknown(name);
	o = find(snap, default_name(snap), kind);
	if (o == NULL) {
		o = first_ip(snap);
		*kind = KIND_IP;
	}
	if (facts != NULL)
		say_default(facts, snap, name, o);
	return o;
}

static void
say_chosen(struct json_object *facts, const struct ga_object *o, uint32_t id)
{
	const struct ga_fact fact = { .what = "virtual_mta", .where = ga_object_where(o) };

	ga_explain_say(facts, &fact, "It goes through the %s \"%.*s\", number %u.",
	    strcmp(ga_object_context(o), "relay_server") == 0 ? "relay server" : "IP address",
	    (int)ga_object_name(o).n, ga_object_name(o).p, (unsigned)id);
}

static void
say_redirect(struct json_object *facts, struct ga_snapshot *snap, const struct ga_object *o, struct ga_str to)
{
	const struct ga_fact fact = { .what = "redirect",
		.where = ga_settings_where(ga_snapshot_object(snap, o), "route", "redirect") };

	ga_explain_say(facts, &fact, "\"%.*s\" is redirected to \"%.*s\".", (int)ga_object_name(o).n,
	    ga_object_name(o).p, (int)to.n, to.p);
}

static void
say_paused(struct json_object *facts, struct ga_snapshot *snap, const struct ga_object *o)
{
	const struct ga_fact fact = { .what = "delivery_paused", .holds = true,
		.where = ga_settings_where(ga_snapshot_object(snap, o), "route", "delivery_paused") };

	ga_explain_say(facts, &fact, "Delivery through \"%.*s\" is paused: no attempts are made, and the lifetime goes on.",
	    (int)ga_object_name(o).n, ga_object_name(o).p);
}

struct rt_mta
rt_mta_choose(struct ga_snapshot *snap, struct ga_str name, const struct ga_route_request *req,
    struct json_object *facts)
{
	struct rt_mta mta = { NULL, { "", 0 }, 0, false, false, 0 };
	const struct route_conf *c;
	int kind;

	for (int hops = 0; hops < HOPS_MAX; hops++) {
		mta.object = find_or_default(snap, name, &kind, facts);
		if (mta.object == NULL)
			return mta;
		if (hops == 0)
			mta.assigned_id = rt_number_mta(snap, mta.object);
		c = kind == KIND_RULE ? rule_conf(snap, mta.object, req->domain) : conf_of(snap, mta.object);
		if (kind != KIND_RULE && c->delivery_paused)
			break;		/* pause beats redirect */
		name = kind == KIND_RULE ? drawn(mta.object, c, req, facts) : c->redirect;
		if (name.n == 0)
			break;
		if (kind != KIND_RULE && facts != NULL)
			say_redirect(facts, snap, mta.object, name);
	}
	c = conf_of(snap, mta.object);
	mta.name = ga_object_name(mta.object);
	mta.id = rt_number_mta(snap, mta.object);
	mta.relay = kind == KIND_RELAY;
	mta.paused = c->delivery_paused;
	if (facts != NULL)
		say_chosen(facts, mta.object, mta.id);
	if (facts != NULL && mta.paused)
		say_paused(facts, snap, mta.object);
	return mta;
}

void
rt_mta_sources(struct ga_snapshot *snap, const struct rt_mta *mta, struct ga_pool *pool,
    struct ga_route_source *v4, struct ga_route_source *v6)
{
	struct ga_str hostname = ga_str_c(ga_hostname());
	const struct route_conf *c;

	v4->hostname = v6->hostname = hostname;
	if (mta->object == NULL)
		return;
	c = conf_of(snap, mta->object);
	for (size_t i = 0; i < c->smtp_source.n; i++) {
		struct ga_strlist words = c->smtp_source.v[i];
		struct ga_sockaddr address;
		struct ga_route_source *source;

		if (!ga_sockaddr_parse(&address, words.v[0], 0))
			continue;
		source = address.u.sa.sa_family == AF_INET6 ? v6 : v4;
		source->address = address;
		source->hostname = words.n > 1 ? ga_dup(pool, words.v[1]) : hostname;
	}
}

/* --- check --- */

struct walk {
	struct ga_snapshot *snap;
	struct ga_diag *diag;
	const struct ga_object *path[HOPS_MAX];
	unsigned depth;
	unsigned *steps;		/* by index of the object: longest way from it; 0: not known yet */
	size_t nsteps;
	bool good;
};

static unsigned
steps(const struct walk *w, const struct ga_object *o)
{
	return ga_object_index(o) < w->nsteps ? w->steps[ga_object_index(o)] : 0;
}

static void
finish(struct walk *w, const struct ga_object *o, unsigned longest)
{
	size_t at = ga_object_index(o), n = w->nsteps;

	if (at >= n) {
		w->nsteps = at * 2 + 64;
		w->steps = ga_xrealloc(w->steps, w->nsteps * sizeof *w->steps);
		memset(w->steps + n, 0, (w->nsteps - n) * sizeof *w->steps);
	}
	w->steps[at] = longest;
}

static struct ga_place
place_of(const struct walk *w, const struct ga_object *block, const char *field, size_t row, size_t word)
{
	struct ga_place at = { ga_object_where(block), 0, 0 };

	ga_settings_place(ga_snapshot_object(w->snap, block), "route", field, row, word, &at);
	return at;
}

/* Where a VirtualMTA is named: in a row of deliver_through, or by redirect. */
struct naming {
	const struct ga_object *block;
	const char *field;
	size_t row;
	struct ga_str name;
};

static unsigned
is_wrong(struct walk *w, const struct naming *by, const char *what)
{
	struct ga_place at = place_of(w, by->block, by->field, by->row, 0);

	ga_diag_error_at(w->diag, at.file, at.line, at.column, "%s: VirtualMTA \"%.*s\" %s", by->field,
	    (int)by->name.n, by->name.p, what);
	w->good = false;
	return 1;
}

static unsigned follow(struct walk *, const struct naming *);

/* All that a routing rule, or a domain block of it, delivers through. */
static unsigned
follow_all(struct walk *w, const struct ga_object *o)
{
	const struct route_conf *c = conf_of(w->snap, o);
	unsigned longest = 0, n;

	for (size_t i = 0; i < c->deliver_through.n; i++) {
		const struct naming by = { o, "deliver_through", i, c->deliver_through.v[i].v[0] };

		longest = (n = follow(w, &by)) > longest ? n : longest;
	}
	return longest;
}

static bool
on_the_way(const struct walk *w, const struct ga_object *o)
{
	for (unsigned i = 0; i < w->depth; i++)
		if (w->path[i] == o)
			return true;
	return false;
}

/* The steps of the longest way from here. */
static unsigned
visit(struct walk *w, const struct ga_object *o, int kind)
{
	const struct route_conf *c = conf_of(w->snap, o);
	unsigned longest = 0, n;

	if (steps(w, o) > 0)
		return steps(w, o);
	w->path[w->depth++] = o;
	if (kind == KIND_RULE) {
		longest = follow_all(w, o);
		for (const struct ga_object *d = ga_object_first(w->snap, o, "domain"); d != NULL; d = ga_object_next(d))
			longest = (n = follow_all(w, d)) > longest ? n : longest;
	} else if (c->redirect.n > 0) {
		longest = follow(w, &(struct naming){ o, "redirect", 0, c->redirect });
	}
	w->depth--;
	finish(w, o, longest + 1);
	return longest + 1;
}

static unsigned
follow(struct walk *w, const struct naming *by)
{
	int kind;
	const struct ga_object *o = find(w->snap, by->name, &kind);

	if (o == NULL)
		return is_wrong(w, by, "does not exist");
	if (on_the_way(w, o))
		return is_wrong(w, by, "leads back to itself");
	if (w->depth + (steps(w, o) > 0 ? steps(w, o) : 1) > HOPS_MAX)
		return is_wrong(w, by, "is too many steps away");
	return visit(w, o, kind);
}

static bool
check_sources(struct walk *w, const struct ga_object *o)
{
	const struct route_conf *c = conf_of(w->snap, o);
	bool seen[2] = { false, false };

	for (size_t i = 0; i < c->smtp_source.n; i++) {
		struct ga_str ip = c->smtp_source.v[i].v[0];
		struct ga_sockaddr address;
		bool v6;

		if (!ga_sockaddr_parse(&address, ip, 0)) {
			ga_diag_error(w->diag, "smtp_source", "%s: \"%.*s\" is not an IP address",
			    ga_object_where(o), (int)ip.n, ip.p);
			return false;
		}
		v6 = address.u.sa.sa_family == AF_INET6;
		if (seen[v6]) {
			ga_diag_error(w->diag, "smtp_source", "%s: a second %s source", ga_object_where(o),
			    v6 ? "IPv6" : "IPv4");
			return false;
		}
		seen[v6] = true;
	}
	return true;
}

static bool
weight_good(struct ga_str text)
{
	return text.n > 0 && text.n <= 7 && strspn(text.p, "0123456789") == text.n &&
	    strtoul(text.p, NULL, 10) <= WEIGHT_MAX;
}

static bool
bad_weight(struct walk *w, const struct ga_object *o, size_t row, struct ga_str text)
{
	struct ga_place at = place_of(w, o, "deliver_through", row, 1);

	ga_diag_error_at(w->diag, at.file, at.line, at.column,
	    "deliver_through: \"%.*s\" is not a weight: 0 to %d", (int)text.n, text.p, WEIGHT_MAX);
	return false;
}

static bool
check_weights_of(struct walk *w, const struct ga_object *o)
{
	const struct route_conf *c = conf_of(w->snap, o);
	uint64_t total = 0;
	bool good = true;

	for (size_t i = 0; i < c->deliver_through.n; i++) {
		struct ga_strlist item = c->deliver_through.v[i];

		if (item.n > 1 && !weight_good(item.v[1]))
			good = bad_weight(w, o, i, item.v[1]);
		else
			total += weight_of(item);
	}
	if (good && total == 0)
		ga_diag_error(w->diag, "deliver_through", "%s: no VirtualMTA with a weight above 0",
		    ga_object_where(o));
	return good && total > 0;
}

static bool
check_weights(struct walk *w, const struct ga_object *rule)
{
	bool good = check_weights_of(w, rule);

	for (const struct ga_object *d = ga_object_first(w->snap, rule, "domain"); d != NULL; d = ga_object_next(d))
		good = check_weights_of(w, d) && good;
	return good;
}

bool
rt_mta_check(struct ga_snapshot *snap, struct ga_diag *diag)
{
	struct walk w = { .snap = snap, .diag = diag, .good = true };

	for (int kind = 0; kind < KINDS; kind++)
		for (const struct ga_object *o = ga_object_first(snap, NULL, kinds[kind]); o != NULL;
		    o = ga_object_next(o)) {
			if (kind != KIND_RULE)
				w.good = check_sources(&w, o) && w.good;
			else
				w.good = check_weights(&w, o) && w.good;
			visit(&w, o, kind);
		}
	free(w.steps);
	return w.good;
}
