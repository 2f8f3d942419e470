/*
 * explain.c - the throttle's part of `greenarrow explain`: what a group allows, what of it
 * is used, and what of it holds the mail that waits.
 *
 * The question goes to the loop of the group and back to the asker's.  The group is looked
 * up there by its key, and nobody keeps a reference meanwhile: groups are freed on their
 * own loops only, so what is found there stays for the turn.  The question itself is the
 * asker's, so a stop finds nothing of it here.
 */
#include <inttypes.h>
#include <stdio.h>

#include "throttle.h"

#include <greenarrow/mail.h>

#define LANES_MAX 1000		/* so many are looked at to count senders */

const char *
thr_duration(uint64_t ms, char *to, size_t room)
{
	unsigned long long s = (ms + 999) / 1000;

	if (ms < 10000)
		snprintf(to, room, "%.3fs", (double)ms / 1000);
	else if (s < 60)
		snprintf(to, room, "%llus", s);
	else if (s < 3600)
		snprintf(to, room, "%llum %llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(to, room, "%lluh %llum", s / 3600, s / 60 % 60);
	else
		snprintf(to, room, "%llud %lluh", s / 86400, s / 3600 % 24);
	return to;
}

static void
say_waiting(struct json_object *facts, const struct ga_group *g)
{
	static const struct ga_fact fact = { .what = "throttle_group" };
	bool all;
	unsigned senders = thr_lane_senders(g, LANES_MAX, &all);

	if (g->waiting == 0)
		ga_explain_say(facts, &fact, "In the group %s (t%" PRIu32 ") nothing waits; %u are in flight.",
		    g->key, g->number, g->in_flight);
	else
		ga_explain_say(facts, &fact, "In the group %s (t%" PRIu32 ") %u wait, of %s%u sender domain%s, "
		    "which take turns; %u are in flight.", g->key, g->number, g->waiting,
		    all ? "" : "at least ", senders, senders == 1 ? "" : "s", g->in_flight);
}

/* " (as written: 20)" when another limit is in force. */
static const char *
written(char *to, size_t room, bool same, struct ga_str text)
{
	snprintf(to, room, same ? "" : " (as written: %.*s)", (int)text.n, text.p);
	return to;
}

static void
say_connections(const struct ga_group_question *q, const struct throttle_conf *c,
    const struct ga_group *g)
{
	bool full = g->max != 0 && g->connections >= g->max;
	struct ga_fact fact = { .what = "max_concurrent_connections", .holds = full && g->waiting > 0,
		.where = ga_settings_where(q->route->settings, "throttle", "max_concurrent_connections") };
	char number[24], other[48], saved[32] = "";
	unsigned nsaved = thr_saved(g);

	snprintf(number, sizeof number, "%" PRId64, (int64_t)c->max_concurrent_connections);
	written(other, sizeof other, g->max == (unsigned)c->max_concurrent_connections, ga_str_c(number));
	if (nsaved > 0)
		snprintf(saved, sizeof saved, ", %u of them saved", nsaved);
	if (g->max == 0)
		ga_explain_say(q->facts, &fact, "The group %s may open any number of connections%s: %u are in use%s.",
		    g->key, other, g->connections, saved);
	else if (full)
		ga_explain_say(q->facts, &fact, "The group %s is full: %u of %u connections are in use%s%s.",
		    g->key, g->connections, g->max, saved, other);
	else
		ga_explain_say(q->facts, &fact, "The group %s uses %u of %u connections%s%s.",
		    g->key, g->connections, g->max, saved, other);
}

static uint64_t
wall_at(uint64_t mono_us)
{
	return ga_wall_ms() + mono_us / 1000 - ga_mono_us() / 1000;
}

/* what: the directive; thing: what is counted.  Of what has no limit nothing is said. */
static void
say_rate(const struct ga_group_question *q, const struct ga_group *g, const char *what,
    const char *thing, const struct thr_rate *r, const struct ga_rate *conf)
{
	uint64_t now = ga_mono_us();
	bool spent = thr_rate_allows(r, 1, now) == 0;
	struct ga_fact fact = { .what = what, .holds = spent && g->waiting > 0,
		.where = ga_settings_where(q->route->settings, "throttle", what) };
	char wait[32], rate[THR_RATE_TEXT], other[64];
	bool same = thr_rate_is(r, conf->per_second);

	if (r->step_ns == 0)
		return;
	written(other, sizeof other, same, conf->text);
	if (same)
		snprintf(rate, sizeof rate, "%.*s", (int)conf->text.n, conf->text.p);
	else
		thr_rate_text(r, rate);
	if (!spent) {
		ga_explain_say(q->facts, &fact, "The group %s allows %s%s; a %s is allowed now.",
		    g->key, rate, other, thing);
		return;
	}
	fact.until_ms = wall_at(thr_rate_when(r));
	ga_explain_say(q->facts, &fact, "The group %s allows %s%s; the next %s is allowed in %s.",
	    g->key, rate, other, thing, thr_duration((thr_rate_when(r) - now) / 1000, wait, sizeof wait));
}

static void
say_system(const struct ga_group_question *q, const struct ga_group *g)
{
	const struct ga_fact fact = { .what = "system_max_smtp_connections", .holds = g->wants_slot,
		.where = ga_settings_where(q->route->settings, "throttle", "system_max_smtp_connections") };
	unsigned max = thr_slots_max();

	if (g->wants_slot)
		ga_explain_say(q->facts, &fact, "Of the system's %u connections all %u are in use; "
		    "the group %s is number %u in line.", max, thr_slots_used(), g->key, thr_slot_place(g));
	else if (max != 0)
		ga_explain_say(q->facts, &fact, "The system uses %u of %u connections.", thr_slots_used(), max);
}

static void
say_hold(const struct ga_group_question *q, const struct ga_group *g)
{
	uint64_t now = ga_mono_us();
	struct ga_fact fact = { .what = "acquire", .holds = g->waiting > 0 };
	char wait[32];

	if (g->hold_us <= now)
		return;
	fact.until_ms = wall_at(g->hold_us);
	ga_explain_say(q->facts, &fact, "A module holds the mail of the group %s; it is asked again in %s.",
	    g->key, thr_duration((g->hold_us - now) / 1000, wait, sizeof wait));
}

/* It holds what one of its limits holds. */
static void
say_backoff(const struct ga_group_question *q, const struct ga_group *g)
{
	bool full = g->max != 0 && g->connections >= g->max;
	struct ga_fact fact = { .what = "backoff", .holds = g->waiting > 0 &&
		(full || thr_rate_allows(&g->deliveries, 1, ga_mono_us()) == 0),
		.where = ga_settings_where(q->route->settings, "throttle", "throttle_program") };
	char began[GA_DATE_ROOM];

	if (!thr_in_backoff(g))
		return;
	fact.until_ms = wall_at(thr_backoff_until(g));
	ga_explain_say(q->facts, &fact, "The group %s is in %s since %s: %s.", g->key, thr_state(g),
	    ga_date_rfc3339(wall_at(thr_backoff_began(g)), began), thr_backoff_reason(g));
}

static void
say_group(const struct ga_group_question *q, const struct ga_group *g)
{
	const struct throttle_conf *c = ga_settings_conf(q->route->settings, "throttle");

	say_waiting(q->facts, g);
	say_backoff(q, g);
	say_connections(q, c, g);
	say_rate(q, g, "max_delivery_rate", "delivery", &g->deliveries, &c->max_delivery_rate);
	say_rate(q, g, "max_connection_rate", "connection", &g->dials, &c->max_connection_rate);
	say_hold(q, g);
	say_system(q, g);
}

/* --- no group yet: what the settings say --- */

static void
say_written(const struct ga_group_question *q, const char *what, const char *thing, struct ga_str value)
{
	const struct ga_fact fact = { .what = what,
		.where = ga_settings_where(q->route->settings, "throttle", what) };

	ga_explain_say(q->facts, &fact, "It may %s %.*s.", thing, (int)value.n, value.p);
}

static void
say_settings(const struct ga_group_question *q)
{
	const struct throttle_conf *c = ga_settings_conf(q->route->settings, "throttle");
	const struct ga_fact fact = { .what = "throttle_group" };
	char number[64];

	ga_explain_say(q->facts, &fact, "The group %.*s has no mail yet.", (int)q->route->group_key.n,
	    q->route->group_key.p);
	snprintf(number, sizeof number, "%" PRId64 " connections at once", (int64_t)c->max_concurrent_connections);
	say_written(q, "max_concurrent_connections", "open",
	    ga_str_c(c->max_concurrent_connections != 0 ? number : "any number of connections"));
	if (c->max_delivery_rate.per_second > 0)
		say_written(q, "max_delivery_rate", "try recipients at", c->max_delivery_rate.text);
	if (c->max_connection_rate.per_second > 0)
		say_written(q, "max_connection_rate", "open connections at", c->max_connection_rate.text);
}

/* --- the way of the question --- */

static void
answer(struct ga_worker *w, struct ga_post *post)
{
	struct ga_group_question *q = GA_CONTAINER(post, struct ga_group_question, post);

	q->cb(w, q);
}

static void
look(struct ga_worker *w, struct ga_post *post)
{
	struct ga_group_question *q = GA_CONTAINER(post, struct ga_group_question, post);
	struct ga_worker *home;
	const struct ga_group *g = thr_group_find(q->route->group_key, &home);

	if (g != NULL && home != w) {
		ga_loop_post(home, post);
		return;
	}
	if (g != NULL)
		say_group(q, g);
	else
		say_settings(q);
	post->fn = answer;
	ga_loop_post(q->asker, post);
}

void
thr_explain(struct ga_group_question *q)
{
	q->post.fn = look;
	ga_loop_post(q->asker, &q->post);
}
