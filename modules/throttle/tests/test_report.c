/*
 * test_report.c - what the throttle says of its groups: explain, and the command throttles.
 *
 * Delivery here keeps what it is given: a connection lasts until the test closes it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../throttle.h"
#include "bed.h"
#include "throttle_rig.h"

#include <greenarrow/ga_hook.h>
#include <greenarrow/service/control.h>

/* --- a module that holds all mail for a while --- */

static uint64_t hold_ms;

static enum ga_verdict
on_acquire(struct ga_call *call, const struct ga_ev_throttle *ev)
{
	(void)ev;
	ga_retry_after(call, hold_ms);
	return hold_ms != 0 ? GA_HOLD : GA_PASS;
}

#define HOLD_HOOKS(X) X(acquire, on_acquire)
GA_MODULE(hold, "1.0.0", "", HOLD_HOOKS, GA_NO_DIRECTIVES, .summary = "Holds mail, for a test");

static const struct ga_module *const modules[] = { &throttle_LTX_ga_module, &hold_LTX_ga_module, NULL };

/* --- delivery --- */

static bool
offer(struct ga_group *g, struct ga_batch batch)
{
	(void)g;
	(void)batch;
	return false;
}

static void
open_one(struct ga_group *g, struct ga_worker *w, struct ga_batch batch)
{
	(void)w;
	rig_open(g, batch);
}

static bool
close_idle(struct ga_group *g, struct ga_worker *w)
{
	(void)g;
	(void)w;
	return false;
}

static unsigned nsaved;

static unsigned
saved(const struct ga_group *g)
{
	(void)g;
	return nsaved;
}

static const struct ga_delivery delivery = { .size = sizeof delivery, .version = GA_DELIVERY_VERSION,
	.offer = offer, .open = open_one, .close_idle = close_idle, .saved = saved };

static void
close_all(void)
{
	for (unsigned i = 0; i < CONNS_MAX; i++) {
		if (conns[i].group == NULL)
			continue;
		rig_end_batch(&conns[i]);
		rig_close(&conns[i]);
	}
	bed_turns(10);
}

/* --- routes and tickets --- */

/* domain: also says which rule it is of. */
static struct ga_route *
new_route(const char *key, const char *domain)
{
	struct ga_route *r = rig_route(key);

	r->virtual_mta = ga_str_c("ip-2");
	r->mta_id = 2;
	r->domain = ga_str_c(domain);
	r->settings = ga_snapshot_resolve(r->snapshot, r->virtual_mta, r->domain, NULL, 0);
	return r;
}

/* Each is a message of its own, of a sender domain of its own. */
static void
enqueue(struct ga_route *r, unsigned n, uint32_t flags)
{
	static uint64_t seq;

	while (n-- > 0) {
		struct ga_ticket *t = rig_ticket(ga_worker_get(0), r, ++seq, rig_free_ticket);

		t->sender_key = n + 1;
		t->flags = flags;
		thr->enqueue(t->home, t);
	}
}

static void
put(struct ga_route *r, unsigned n, uint32_t flags)
{
	enqueue(r, n, flags);
	bed_turns(10);
}

/* --- the question --- */

static void
explained(struct ga_worker *w, struct ga_group_question *q)
{
	assert_ptr_equal(w, q->asker);
	*(bool *)q->arg = true;
}

/* The facts; the caller's reference. */
static struct json_object *
explain(struct ga_route *r)
{
	bool over = false;
	struct ga_group_question q = { .asker = ga_worker_main(), .route = r,
		.facts = json_object_new_array(), .cb = explained, .arg = &over };

	thr->explain(&q);
	assert_false(over);			/* never within the call */
	bed_turns(5);
	assert_true(over);
	return q.facts;
}

static struct json_object *
member(struct json_object *o, const char *key)
{
	struct json_object *m = NULL;

	json_object_object_get_ex(o, key, &m);
	return m;
}

static struct json_object *
fact_of(struct json_object *facts, const char *what)
{
	for (size_t i = 0; i < json_object_array_length(facts); i++) {
		struct json_object *fact = json_object_array_get_idx(facts, i);

		if (strcmp(json_object_get_string(member(fact, "fact")), what) == 0)
			return fact;
	}
	return NULL;
}

static void
assert_fact(struct ga_route *r, const char *what, bool holds, const char *text, bool until)
{
	struct json_object *facts = explain(r), *fact = fact_of(facts, what);

	assert_non_null(fact);
	assert_string_equal(json_object_get_string(member(fact, "text")), text);
	assert_int_equal(json_object_get_boolean(member(fact, "holds")), holds);
	assert_int_equal(member(fact, "until") != NULL, until);
	json_object_put(facts);
}

static void
assert_no_fact(struct ga_route *r, const char *what)
{
	struct json_object *facts = explain(r);

	assert_null(fact_of(facts, what));
	json_object_put(facts);
}

/* --- fixture --- */

static unsigned ncommands;
static void forget_answer(void);

static void
up(const char *conf, unsigned workers)
{
	hold_ms = 0;
	nsaved = 0;
	ncommands = 0;
	forget_answer();
	rig_up(conf, workers, modules, &delivery);
}

static void
down(void)
{
	hold_ms = 0;
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_turns(10);
	close_all();
	bed_advance(24 * 3600 * 1000);
	bed_turns(10);
	for (unsigned i = 0; i < ga_worker_count(); i++)
		assert_null(thr_loop(ga_worker_get(i))->groups);
	bed_down();
}

/* --- explain --- */

static void
test_a_group_without_mail_is_told_from_the_settings(void **state)
{
	struct ga_route *r;

	(void)state;
	up("ip_address ip-2 {\n  max_concurrent_connections 20\n  max_delivery_rate 120/min\n}\n", 2);
	r = new_route("2,x.example", "x.example");
	assert_fact(r, "throttle_group", false, "The group 2,x.example has no mail yet.", false);
	assert_fact(r, "max_concurrent_connections", false, "It may open 20 connections at once.", false);
	assert_fact(r, "max_delivery_rate", false, "It may try recipients at 120/min.", false);
	assert_no_fact(r, "max_connection_rate");
	assert_null(r->group);			/* asking makes none */
	ga_route_unref(r);
	down();
}

static void
test_the_place_of_a_setting_is_said(void **state)
{
	struct json_object *facts;
	struct ga_route *r;
	const char *where;

	(void)state;
	up("ip_address ip-2 {\n  max_concurrent_connections 20\n}\n", 1);
	r = new_route("2,x.example", "x.example");
	for (unsigned i = 0; i < 2; i++) {	/* without the group, and with it */
		facts = explain(r);
		where = json_object_get_string(member(fact_of(facts, "max_concurrent_connections"), "where"));
		assert_non_null(where);
		assert_string_equal(where, ga_settings_where(r->settings, "throttle", "max_concurrent_connections"));
		assert_non_null(strchr(where, ':'));
		json_object_put(facts);
		put(r, 1, 0);
	}
	ga_route_unref(r);
	down();
}

static void
test_a_full_group_holds_its_mail(void **state)
{
	struct ga_route *first, *r, *asked;

	(void)state;
	up("general {\n  max_concurrent_connections 2\n}\n", 2);
	first = new_route("1,y.example", "y.example");
	r = new_route("2,x.example", "x.example");	/* on the other loop */
	asked = new_route("2,x.example", "x.example");
	put(first, 1, 0);
	put(r, 1, 0);
	assert_ptr_not_equal(first->group->home, r->group->home);
	assert_fact(asked, "max_concurrent_connections", false,
	    "The group 2,x.example uses 1 of 2 connections.", false);
	assert_fact(asked, "throttle_group", false,
	    "In the group 2,x.example (t2) nothing waits; 1 are in flight.", false);
	nsaved = 1;
	assert_fact(asked, "max_concurrent_connections", false,
	    "The group 2,x.example uses 1 of 2 connections, 1 of them saved.", false);
	nsaved = 0;
	put(r, 4, 0);
	assert_fact(asked, "max_concurrent_connections", true,
	    "The group 2,x.example is full: 2 of 2 connections are in use.", false);
	assert_fact(asked, "throttle_group", false,
	    "In the group 2,x.example (t2) 3 wait, of 3 sender domains, which take turns; 2 are in flight.", false);
	ga_route_unref(asked);
	ga_route_unref(first);
	ga_route_unref(r);
	down();
}

static void
test_a_rate_holds_until_the_next_may_go(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_delivery_rate 2/hr\n}\n", 1);
	r = new_route("2,x.example", "x.example");
	put(r, 1, 0);
	bed_advance(48 * 1000);
	assert_fact(r, "max_delivery_rate", false,		/* nothing waits for it */
	    "The group 2,x.example allows 2/hr; the next delivery is allowed in 29m 12s.", true);
	put(r, 2, 0);
	assert_fact(r, "max_delivery_rate", true,
	    "The group 2,x.example allows 2/hr; the next delivery is allowed in 29m 12s.", true);
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_advance(3600 * 1000);
	bed_turns(10);
	assert_fact(r, "max_delivery_rate", false,
	    "The group 2,x.example allows 2/hr; a delivery is allowed now.", false);
	ga_route_unref(r);
	down();
}

static void
test_a_rate_of_connections_holds(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_connection_rate 1/min\n}\n", 1);
	r = new_route("2,x.example", "x.example");
	put(r, 2, 0);
	bed_advance(1500);
	assert_fact(r, "max_connection_rate", true,
	    "The group 2,x.example allows 1/min; the next connection is allowed in 59s.", true);
	assert_no_fact(r, "max_delivery_rate");
	ga_route_unref(r);
	down();
}

static void
test_the_limit_of_the_system_holds_and_the_place_in_line_is_said(void **state)
{
	struct ga_route *a, *b, *c;

	(void)state;
	up("general {\n  system_max_smtp_connections 1\n}\n", 1);
	a = new_route("2,a.example", "a.example");
	b = new_route("2,b.example", "b.example");
	c = new_route("2,c.example", "c.example");
	put(a, 1, 0);
	put(b, 1, 0);
	put(c, 1, 0);
	assert_fact(a, "system_max_smtp_connections", false, "The system uses 1 of 1 connections.", false);
	assert_fact(c, "system_max_smtp_connections", true, "Of the system's 1 connections all 1 are in use; "
	    "the group 2,c.example is number 2 in line.", false);
	close_all();
	assert_fact(c, "system_max_smtp_connections", true, "Of the system's 1 connections all 1 are in use; "
	    "the group 2,c.example is number 1 in line.", false);
	ga_route_unref(a);
	ga_route_unref(b);
	ga_route_unref(c);
	down();
}

static void
test_a_hold_of_a_module_is_said(void **state)
{
	struct ga_route *r;

	(void)state;
	up("", 1);
	r = new_route("2,x.example", "x.example");
	put(r, 1, 0);
	assert_no_fact(r, "acquire");
	hold_ms = 90000;
	put(r, 1, 0);
	assert_fact(r, "acquire", true,
	    "A module holds the mail of the group 2,x.example; it is asked again in 1m 30s.", true);
	ga_route_unref(r);
	down();
}

static void
test_a_limit_in_force_that_is_not_the_one_of_the_settings_is_told_with_it(void **state)
{
	struct ga_route *r;

	(void)state;
	up("general {\n  max_concurrent_connections 20\n  max_delivery_rate 120/min\n}\n", 1);
	r = new_route("2,x.example", "x.example");
	put(r, 1, 0);
	r->group->max = 5;
	r->group->deliveries = (struct thr_rate){ 0, 0, 0 };
	thr_rate_set(&r->group->deliveries, 1.0 / 24, 1, ga_mono_us());
	thr_rate_take(&r->group->deliveries, 1, ga_mono_us());
	assert_fact(r, "max_concurrent_connections", false,
	    "The group 2,x.example uses 1 of 5 connections (as written: 20).", false);
	assert_fact(r, "max_delivery_rate", false, "The group 2,x.example allows 2.5/min (as written: 120/min); "
	    "the next delivery is allowed in 24s.", true);
	ga_route_unref(r);
	down();
}

/* --- the control socket --- */

static struct { const char *name; ga_control_fn *fn; } commands[8];
static struct json_object *rows, *last;		/* all of the parts; the end of the answer */
static unsigned parts;
static clock_t part_at, longest;		/* of this thread's work from one part to the next */
static bool slow;
static char error[200];
static unsigned nerrors;

void __wrap_ga_control_register(struct ga_inst *, const char *, const char *, ga_control_fn *, void *);
void __wrap_ga_control_reply(struct ga_control_call *, struct json_object *);
bool __wrap_ga_control_part(struct ga_control_call *, struct json_object *);
void __wrap_ga_control_error(struct ga_control_call *, const char *, const char *, ...);
bool __wrap_ga_control_gone(const struct ga_control_call *);

void
__wrap_ga_control_register(struct ga_inst *inst, const char *name, const char *help, ga_control_fn *fn,
    void *arg)
{
	(void)inst;
	(void)help;
	(void)arg;
	assert_true(ncommands < sizeof commands / sizeof commands[0]);
	commands[ncommands].name = name;
	commands[ncommands++].fn = fn;
}

void
__wrap_ga_control_reply(struct ga_control_call *call, struct json_object *result)
{
	(void)call;
	assert_null(last);
	last = result;
}

bool
__wrap_ga_control_part(struct ga_control_call *call, struct json_object *part)
{
	struct json_object *list = member(part, "throttles");
	clock_t took;

	(void)call;
	assert_null(last);
	assert_in_range(json_object_array_length(list), 1, THR_SLICE);
	for (size_t i = 0; i < json_object_array_length(list); i++)
		json_object_array_add(rows, json_object_get(json_object_array_get_idx(list, i)));
	json_object_put(part);
	parts++;
	took = clock();
	if (parts > 1 && took - part_at > longest)
		longest = took - part_at;
	part_at = took;
	return !slow;
}

void
__wrap_ga_control_error(struct ga_control_call *call, const char *code, const char *fmt, ...)
{
	va_list ap;

	(void)call;
	(void)code;
	nerrors++;
	va_start(ap, fmt);
	vsnprintf(error, sizeof error, fmt, ap);
	va_end(ap);
}

static bool client_gone;

bool
__wrap_ga_control_gone(const struct ga_control_call *call)
{
	(void)call;
	return client_gone;
}

static void
forget_answer(void)
{
	json_object_put(rows);
	json_object_put(last);
	rows = json_object_new_array();
	last = NULL;
	error[0] = '\0';
	parts = 0;
	longest = 0;
}

/* Begins; what it answers comes with the turns of the loops. */
static void
begin(const char *command, const char *args)
{
	struct json_object *o = json_tokener_parse(args);

	forget_answer();
	for (unsigned i = 0; i < ncommands; i++)
		if (strcmp(commands[i].name, command) == 0)
			commands[i].fn(NULL, o, NULL);
	json_object_put(o);
}

static void
ask(const char *command, const char *args)
{
	begin(command, args);
	bed_turns(40);
	assert_true(last != NULL || error[0] != '\0');
}

static struct json_object *
row(unsigned i)
{
	return json_object_array_get_idx(rows, i);
}

static unsigned
nrows(void)
{
	return (unsigned)json_object_array_length(rows);
}

static void
assert_text(struct json_object *o, const char *key, const char *text)
{
	assert_non_null(member(o, key));
	assert_string_equal(json_object_to_json_string_ext(member(o, key),
	    JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE), text);
}

static void
test_throttles_tells_limits_use_and_what_waits(void **state)
{
	struct ga_route *r;

	(void)state;
	up("domain x.example, *.x.example {\n  max_concurrent_connections 2\n  max_delivery_rate 120/min\n"
	    "  max_delivery_burst 100\n}\n", 2);
	r = new_route("ip2pd7", "x.example");
	put(r, 1, GA_TICKET_FIRST);
	bed_advance(1100);
	put(r, 1, GA_TICKET_FIRST);
	bed_advance(900);
	put(r, 3, GA_TICKET_FIRST);
	put(r, 4, GA_TICKET_BOUNCE | GA_TICKET_FIRST);
	put(r, 5, 0);
	r->group->max = 1;
	nsaved = 1;
	ask("throttles", "{}");
	assert_int_equal(nrows(), 1);
	assert_text(row(0), "key", "\"ip2pd7\"");
	assert_text(row(0), "id", "\"t1\"");
	assert_text(row(0), "virtual_mta", "\"ip-2\"");
	assert_text(row(0), "outmtaid", "\"2\"");
	assert_text(row(0), "domains", "[\"x.example\",\"*.x.example\"]");
	assert_text(row(0), "max_concurrent_connections", "2");
	assert_text(row(0), "max_concurrent_connections_in_force", "1");
	assert_text(row(0), "max_delivery_rate", "\"120/min\"");
	assert_text(row(0), "max_delivery_rate_in_force", "\"120/min\"");
	assert_text(row(0), "max_connection_rate", "\"0\"");
	assert_text(row(0), "connections", "2");
	assert_text(row(0), "saved_connections", "1");
	assert_text(row(0), "state", "\"normal\"");
	assert_text(row(0), "in_flight", "2");
	assert_text(row(0), "queued_ram", "3");
	assert_text(row(0), "queued_bounce", "4");
	assert_text(row(0), "queued_disk", "5");
	assert_text(last, "groups", "1");
	assert_text(last, "queued_disk", "5");
	thr->recall(ga_worker_get(0), NULL, NULL);	/* counters follow what goes */
	bed_turns(10);
	ask("throttles", "{}");
	assert_text(row(0), "queued_ram", "0");
	assert_text(row(0), "queued_bounce", "0");
	assert_text(row(0), "queued_disk", "0");
	ga_route_unref(r);
	down();
}

static void
test_the_rate_now_is_of_the_last_seconds(void **state)
{
	struct thr_recent r = { 0, 0, 0 };
	uint64_t now = 1000000000;

	(void)state;
	assert_true(thr_recent_rate(&r, now) < 0.001);
	for (unsigned i = 0; i < 200; i++, now += 100000)	/* 50 a second for 20 seconds */
		thr_recent_add(&r, 5, now);
	assert_in_range((int)thr_recent_rate(&r, now), 49, 51);
	thr_recent_add(&r, 100, now);
	thr_recent_take_back(&r, 100);
	assert_in_range((int)thr_recent_rate(&r, now), 49, 51);
	assert_true(thr_recent_rate(&r, now + 4000000) < 40);
	assert_true(thr_recent_rate(&r, now + 11000000) < 0.001);
}

static void
test_throttles_filters(void **state)
{
	static const struct { const char *args; unsigned n; } table[] = {
		{ "{}", 3 }, { "{\"key\":\"2,*\"}", 2 }, { "{\"key\":\"2,a.example\"}", 1 }, { "{\"key\":\"t3\"}", 1 },
		{ "{\"key\":\"t4\"}", 0 }, { "{\"virtual_mta\":\"IP-2\"}", 3 }, { "{\"virtual_mta\":\"2\"}", 3 },
		{ "{\"virtual_mta\":\"ip-3\"}", 0 }, { "{\"key\":\"relay5\",\"virtual_mta\":\"2\"}", 1 }
	};
	struct ga_route *r[3];

	(void)state;
	up("", 2);
	r[0] = new_route("2,a.example", "a.example");
	r[1] = new_route("2,b.example", "b.example");
	r[2] = new_route("relay5", "c.example");
	for (unsigned i = 0; i < 3; i++)
		put(r[i], 1, 0);
	for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
		ask("throttles", table[i].args);
		assert_int_equal(nrows(), table[i].n);
		assert_int_equal(json_object_get_int(member(last, "groups")), table[i].n);
	}
	ask("throttles", "{\"key\":\"2,a.*\"}");
	assert_text(row(0), "domains", "[\"a.example\"]");
	ask("throttles", "{\"key\":\"relay5\"}");
	assert_text(row(0), "domains", "[\"*\"]");
	for (unsigned i = 0; i < 3; i++)
		ga_route_unref(r[i]);
	down();
}

static void
test_throttle_finds_a_group_by_key_and_by_number(void **state)
{
	static const char *const names[] = { "2,a.example", "2,b.example" };
	struct ga_route *r[2];
	char args[64];

	(void)state;
	up("", 2);
	for (unsigned i = 0; i < 2; i++) {		/* one on each loop */
		r[i] = new_route(names[i], names[i] + 2);
		put(r[i], 1, 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		if (i < 2)
			snprintf(args, sizeof args, "{\"key\":\"%s\"}", names[i]);
		else
			snprintf(args, sizeof args, "{\"key\":\"t%u\"}", i - 1);
		ask("throttle", args);
		assert_non_null(last);
		snprintf(args, sizeof args, "\"%s\"", names[i % 2]);
		assert_text(member(last, "throttle"), "key", args);
	}
	for (unsigned i = 0; i < 5; i++) {
		static const char *const wrong[] = { "t3", "t", "t1x", "2,c.example", "t99999999999999999999" };

		snprintf(args, sizeof args, "{\"key\":\"%s\"}", wrong[i]);
		ask("throttle", args);
		assert_null(last);
		assert_non_null(strstr(error, wrong[i]));
	}
	ga_route_unref(r[0]);
	ga_route_unref(r[1]);
	down();
}

static void
test_a_backoff_is_begun_shown_and_ended_by_command(void **state)
{
	struct ga_route *r[2];
	struct json_object *group;

	(void)state;
	up("general {\n  max_concurrent_connections 8\n  max_delivery_rate 100/s\n}\n", 2);
	r[0] = new_route("2,a.example", "a.example");
	r[1] = new_route("2,b.example", "b.example");
	put(r[0], 1, 0);
	put(r[1], 1, 0);
	ask("throttle", "{\"key\":\"2,b.example\",\"do\":\"begin_backoff\",\"for_ms\":60000}");
	group = member(last, "throttle");
	assert_text(group, "in_backoff", "true");
	assert_text(group, "backoff_reason", "\"begun by command\"");
	assert_int_equal(strlen(json_object_get_string(member(group, "backoff_ends_at"))),
	    strlen(json_object_get_string(member(group, "backoff_began_at"))));
	assert_text(group, "normal_max_concurrent_connections", "8");
	assert_text(group, "normal_max_messages_per_hour", "360000");
	assert_text(group, "backoff_max_concurrent_connections", "2");
	assert_text(group, "backoff_max_messages_per_hour", "90000");
	assert_text(group, "max_delivery_rate", "\"100/s\"");
	assert_text(group, "max_delivery_rate_in_force", "\"25/s\"");
	assert_text(group, "max_concurrent_connections_in_force", "2");
	ask("throttles", "{\"in_backoff\":true}");
	assert_int_equal(nrows(), 1);
	assert_text(row(0), "key", "\"2,b.example\"");
	assert_text(last, "in_backoff", "1");
	ask("throttles", "{}");
	assert_int_equal(nrows(), 2);
	assert_text(last, "in_backoff", "1");
	bed_advance(61000);
	bed_turns(10);
	ask("throttles", "{\"in_backoff\":true}");
	assert_int_equal(nrows(), 0);
	ask("throttle", "{\"key\":\"t1\",\"do\":\"begin_backoff\"}");
	assert_text(member(last, "throttle"), "in_backoff", "true");
	ask("throttle", "{\"key\":\"t1\",\"do\":\"end_backoff\"}");
	assert_text(member(last, "throttle"), "in_backoff", "false");
	assert_null(member(member(last, "throttle"), "backoff_reason"));
	assert_text(member(last, "throttle"), "max_concurrent_connections_in_force", "8");
	ask("throttle", "{\"key\":\"t1\",\"do\":\"sing\"}");
	assert_null(last);
	ga_route_unref(r[0]);
	ga_route_unref(r[1]);
	down();
}

static void
test_explain_names_a_backoff_and_its_end(void **state)
{
	struct json_object *facts, *fact;
	struct ga_route *r;

	(void)state;
	up("general {\n  max_concurrent_connections 4\n}\n", 1);
	r = new_route("2,x.example", "x.example");
	put(r, 1, 0);
	assert_no_fact(r, "backoff");
	thr_backoff_begin(r->group, "they are tired", 300000);
	put(r, 2, 0);
	facts = explain(r);
	fact = fact_of(facts, "backoff");
	assert_non_null(strstr(json_object_get_string(member(fact, "text")), "they are tired"));
	assert_true(json_object_get_boolean(member(fact, "holds")));	/* one connection, and it is busy */
	assert_non_null(member(fact, "until"));
	json_object_put(facts);
	assert_fact(r, "max_concurrent_connections", true,
	    "The group 2,x.example is full: 1 of 1 connections are in use (as written: 4).", false);
	ga_route_unref(r);
	down();
}

/* --- many groups --- */

#define MOST 100000
#ifdef __SANITIZE_ADDRESS__
#define SLOWNESS 4
#else
#define SLOWNESS 1
#endif
#define MANY 2000
static struct ga_route *many[MOST];
static char keys[MOST][16];
static unsigned nmany;

static void
put_many(unsigned n)
{
	nmany = n;
	for (unsigned i = 0; i < n; i++) {
		snprintf(keys[i], sizeof keys[i], "2,d%u", i);
		many[i] = new_route(keys[i], keys[i] + 2);
		enqueue(many[i], 1, 0);
	}
	bed_turns(20 + n / 50);
}

static void
drop_many(void)
{
	thr->recall(ga_worker_get(0), NULL, NULL);
	bed_turns(10);
	bed_turns(nmany / 50);
	for (unsigned i = 0; i < nmany; i++)
		ga_route_unref(many[i]);
	bed_turns(40 + nmany / 50);
}

static void
test_many_groups_come_in_parts_each_once(void **state)
{
	static bool seen[MANY + 1];

	(void)state;
	memset(seen, 0, sizeof seen);
	up("general {\n  system_max_smtp_connections 1\n}\n", 2);
	put_many(MANY);
	ask("throttles", "{}");
	assert_int_equal(nrows(), MANY);
	assert_in_range(parts, MANY / THR_SLICE, MANY / THR_SLICE + 2);
	for (unsigned i = 0; i < MANY; i++) {
		unsigned n = (unsigned)atoi(json_object_get_string(member(row(i), "id")) + 1);

		assert_in_range(n, 1, MANY);
		assert_false(seen[n]);
		seen[n] = true;
	}
	drop_many();
	down();
}

/* A part is a turn of the group's loop and one of the main loop, here on one thread. */
static void
test_a_hundred_thousand_groups_keep_no_loop_for_fifty_milliseconds(void **state)
{
	(void)state;
	up("general {\n  system_max_smtp_connections 1\n}\n", 2);
	put_many(MOST);
	begin("throttles", "{}");
	bed_turns(MOST / 50);
	assert_non_null(last);
	assert_int_equal(nrows(), MOST);
	print_message("%u parts, the longest took %.1f ms\n", parts, (double)longest * 1e3 / CLOCKS_PER_SEC);
	assert_in_range(longest, 1, SLOWNESS * CLOCKS_PER_SEC / 20);
	drop_many();
	close_all();
	down();
}

static void
test_groups_may_go_while_a_client_reads_slowly(void **state)
{
	unsigned before;

	(void)state;
	up("general {\n  system_max_smtp_connections 1\n}\n", 2);
	put_many(MANY);
	slow = true;
	begin("throttles", "{}");
	bed_turns(10);
	assert_int_equal(parts, 1);		/* it waits for its client */
	drop_many();
	slow = false;
	before = nrows();
	bed_advance(100);
	bed_turns(20);
	assert_non_null(last);
	assert_int_equal(nrows(), before + 1);	/* the one in flight */
	close_all();
	down();
}

static void
test_a_client_that_has_gone_ends_the_walk(void **state)
{
	(void)state;
	up("general {\n  system_max_smtp_connections 1\n}\n", 2);
	put_many(MANY);
	slow = client_gone = true;
	begin("throttles", "{}");
	bed_turns(10);
	bed_advance(100);
	bed_turns(10);
	slow = client_gone = false;
	assert_non_null(last);
	assert_int_equal(parts, 1);
	drop_many();
	close_all();
	down();
}

static void
test_a_stop_answers_what_is_under_way(void **state)
{
	struct ga_route *r;

	(void)state;
	up("", 2);
	r = new_route("2,x.example", "x.example");
	put(r, 1, 0);
	slow = true;
	begin("throttles", "{}");
	bed_turns(10);
	slow = false;
	assert_int_equal(parts, 1);		/* it waits for its client, and time stands still */
	close_all();
	ga_route_unref(r);
	bed_turns(10);
	nerrors = 0;
	begin("throttle", "{\"key\":\"2,x.example\"}");
	bed_down();
	assert_int_equal(nerrors, 2);
	assert_null(last);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_group_without_mail_is_told_from_the_settings),
		cmocka_unit_test(test_the_place_of_a_setting_is_said),
		cmocka_unit_test(test_a_full_group_holds_its_mail),
		cmocka_unit_test(test_a_rate_holds_until_the_next_may_go),
		cmocka_unit_test(test_a_rate_of_connections_holds),
		cmocka_unit_test(test_the_limit_of_the_system_holds_and_the_place_in_line_is_said),
		cmocka_unit_test(test_a_hold_of_a_module_is_said),
		cmocka_unit_test(test_a_limit_in_force_that_is_not_the_one_of_the_settings_is_told_with_it),
		cmocka_unit_test(test_throttles_tells_limits_use_and_what_waits),
		cmocka_unit_test(test_the_rate_now_is_of_the_last_seconds),
		cmocka_unit_test(test_throttles_filters),
		cmocka_unit_test(test_throttle_finds_a_group_by_key_and_by_number),
		cmocka_unit_test(test_a_backoff_is_begun_shown_and_ended_by_command),
		cmocka_unit_test(test_explain_names_a_backoff_and_its_end),
		cmocka_unit_test(test_many_groups_come_in_parts_each_once),
		cmocka_unit_test(test_a_hundred_thousand_groups_keep_no_loop_for_fifty_milliseconds),
		cmocka_unit_test(test_groups_may_go_while_a_client_reads_slowly),
		cmocka_unit_test(test_a_client_that_has_gone_ends_the_walk),
		cmocka_unit_test(test_a_stop_answers_what_is_under_way),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	json_object_put(rows);
	json_object_put(last);
	return failed;
}
