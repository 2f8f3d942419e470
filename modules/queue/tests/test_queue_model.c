/*
 * test_queue_model.c - anything in any order, against a model that is so small that
 * it is right.
 *
 * For each envelope the model knows only how often it was deferred, and whether it is
 * live, failed or done.  Mail comes in, results come home, modules think, hold and set
 * times, routes fail and pause, configurations change, hours pass, and the process is
 * killed: after each step all that the queue believes of itself is recounted, and at
 * the end every envelope has ended exactly once.
 *
 * The seeds are fixed; QUEUE_SEED=N runs another one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage.h"

#define MAIL_MAX 4000
#define RCPTS_MAX 6
#define STEPS 400

enum fate { LIVE, FAILED, DONE };

static struct {
	uint64_t first_seq;
	unsigned nmail, nsuccess;
	struct { unsigned n; enum fate fate[RCPTS_MAX]; unsigned attempts[RCPTS_MAX]; } mail[MAIL_MAX];
	uint64_t random;		/* the model's own: the queue draws from the stage's */
	bool hooks_think;
	const char *conf;
} model;

static unsigned
draw(unsigned n)
{
	model.random = model.random * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(model.random >> 33) % n;
}

static const char *const confs[] = {
	"",
	"general {\n  queue_lifetime 3h\n}\n",
	"general {\n  retry_schedule 1m, 10m\n  queue_lifetime 1d\n}\n",
	"ip_address a {\n  retry_schedule 30s\n  domain d1.example {\n    queue_lifetime 20m\n  }\n}\n",
};

/* --- hooks and routes that are of two minds --- */

static enum ga_verdict
commit(struct ga_call *call, const struct ga_ev_commit *ev)
{
	(void)call;
	(void)ev;
	return draw(10) == 0 ? GA_HOLD : GA_PASS;
}

/* Answered at once, or not at all: then its deadline or the end of the process comes. */
static enum ga_verdict
schedule(struct ga_call *call, const struct ga_ev_schedule *ev)
{
	switch (draw(6)) {
	case 0:
		assert_true(ga_schedule_set(call, ev->next_ms - draw(100000)));
		return GA_PASS;
	case 1:
		return draw(4) == 0 ? GA_HOLD : GA_PASS;
	case 2:
		return model.hooks_think ? stage_suspend(call) : GA_PASS;
	default:
		return GA_PASS;
	}
}

static enum ga_route_kind
kind_of(struct ga_str domain)
{
	static const enum ga_route_kind kinds[] = { GA_ROUTE_DELIVER, GA_ROUTE_DELIVER, GA_ROUTE_DELIVER,
		GA_ROUTE_DELIVER, GA_ROUTE_DELIVER, GA_ROUTE_PAUSED };

	(void)domain;
	return stage.kind != GA_ROUTE_DELIVER ? stage.kind : kinds[draw(6)];
}

static void
again(void)
{
	stage.commit = commit;
	stage.schedule = schedule;
	stage.kind_of = kind_of;
}

/* --- what is on record is what the model says --- */

static void
take_record(const struct q_envelope *e, uint64_t seq)
{
	unsigned i = (unsigned)(seq - model.first_seq);

	assert_in_range(i, 0, model.nmail - 1);
	assert_int_not_equal(model.mail[i].fate[e->index], DONE);
	/* failed is for ever */
	if (model.mail[i].fate[e->index] == FAILED)
		assert_int_equal(e->state, Q_ENDED);
	if (e->state == Q_ENDED)
		model.mail[i].fate[e->index] = FAILED;
	/* attempts only grow */
	assert_true(e->attempts >= model.mail[i].attempts[e->index]);
	model.mail[i].attempts[e->index] = e->attempts;
}

static void
compare(void)
{
	struct q_loop *l = q_loop(ga_worker_get(0));
	uint64_t live = 0;

	stage_check();
	for (uint32_t b = 0; b <= l->id_mask; b++)
		for (uint32_t i = l->ids[b]; i != 0; i = q_message(l, i)->id_next)
			for (uint32_t k = q_message(l, i)->envelopes; k != 0; k = q_envelope(l, k)->next)
				take_record(q_envelope(l, k), q_message(l, i)->seq);
	for (unsigned i = 0; i < model.nmail; i++)
		for (unsigned k = 0; k < model.mail[i].n; k++)
			live += model.mail[i].fate[k] != DONE;
	assert_int_equal(stage_stats().envelopes, live);
	assert_int_equal(stage_spool().live, stage_stats().messages);
}

/* --- steps --- */

static void
accept_some(void)
{
	static const char *const domains[] = { "d1.example", "d2.example", "big.example", NULL };
	static const char *const senders[] = { "x@one.example", "y@two.example" };

	for (unsigned n = draw(4); n > 0 && model.nmail < MAIL_MAX; n--) {
		struct stage_mail mail = { .n = 1 + draw(RCPTS_MAX), .domain = domains[draw(4)],
			.sender = senders[draw(2)], .vmta = draw(2) == 0 ? "a" : NULL };
		uint64_t seq = stage_accept(mail);

		if (model.nmail == 0)
			model.first_seq = seq;
		assert_int_equal(seq, model.first_seq + model.nmail);
		model.mail[model.nmail++].n = mail.n;
	}
}

static void
end_one(struct ga_ticket *t, enum ga_result result)
{
	unsigned i = (unsigned)(t->seq - model.first_seq);

	assert_int_equal(model.mail[i].fate[t->envelope], LIVE);
	assert_int_equal(model.mail[i].attempts[t->envelope], t->attempts);
	if (result == GA_RESULT_SUCCESS) {
		model.mail[i].fate[t->envelope] = DONE;
		model.nsuccess++;
	}
	stage_end(t, result);
}

static void
end_some(void)
{
	static const enum ga_result results[] = { GA_RESULT_SUCCESS, GA_RESULT_SUCCESS, GA_RESULT_DEFERRAL,
		GA_RESULT_DEFERRAL, GA_RESULT_DEFERRAL, GA_RESULT_FAILURE, GA_RESULT_RECALLED,
		GA_RESULT_CONNMAXOUT, GA_RESULT_FAILURE_TOOLONG, GA_RESULT_NONE };

	for (struct ga_ticket *t = stage.first, *next; t != NULL; t = next) {
		next = t->next;
		if (draw(3) > 0)
			end_one(t, results[draw(10)]);
	}
	bed_turns(12);
}

static void
new_routes(void)
{
	static const enum ga_route_kind kinds[] = { GA_ROUTE_DELIVER, GA_ROUTE_DELIVER, GA_ROUTE_DEFER,
		GA_ROUTE_FAIL, GA_ROUTE_PAUSED };

	stage.kind = kinds[draw(5)];
	if (stage.kind == GA_ROUTE_FAIL && draw(3) > 0)
		stage.kind = GA_ROUTE_DELIVER;
	stage.routes_late = draw(4) == 0;
	if (!stage.routes_late)
		stage_routes();
}

static void
reload(void)
{
	model.conf = confs[draw(4)];
	stage.keeps_recalled = draw(3) == 0;
	bed_reload(model.conf);
	bed_turns(12);
}

static void
kill_process(void)
{
	if (draw(2) == 0) {
		bed_drain();
		bed_turns(draw(4));
	}
	stage_restart(model.conf);
}

static void
step(void)
{
	static const uint64_t times[] = { 0, 100, 5000, 60000, 400000, 3600000, 7200000 };

	switch (draw(14)) {
	case 0:
	case 1:
	case 2:
	case 3:
		accept_some();
		break;
	case 4:
	case 5:
	case 6:
		end_some();
		break;
	case 7:
	case 8:
	case 9:
		bed_advance(times[draw(7)]);
		break;
	case 10:
		new_routes();
		break;
	case 11:
		stage_routes();
		break;
	case 12:
		reload();
		break;
	default:
		if (draw(2) == 0)
			kill_process();
		break;
	}
}

/* --- a run --- */

static void
run(uint64_t seed)
{
	memset(&model, 0, sizeof model);
	model.random = seed;
	model.conf = "";
	model.hooks_think = draw(2) == 0;
	stage_up_hooked("");
	stage.seed = seed + 1;
	again();
	for (unsigned i = 0; i < STEPS; i++) {
		step();
		compare();
	}
	/* all that is left fails or is delivered, at the end of its life at the latest */
	stage.kind_of = NULL;
	stage.kind = GA_ROUTE_DELIVER;
	stage.routes_late = false;
	stage.schedule = NULL;
	stage_routes();
	for (unsigned i = 0; i < 4000 && stage_stats().envelopes > stage_stats().failed; i++) {
		while (stage.first != NULL)
			end_one(stage.first, GA_RESULT_SUCCESS);
		bed_turns(12);
		bed_advance(600000);
	}
	compare();
	assert_int_equal(stage_stats().envelopes, stage_stats().failed);
	for (unsigned i = 0; i < model.nmail; i++)
		for (unsigned k = 0; k < model.mail[i].n; k++)
			assert_int_not_equal(model.mail[i].fate[k], LIVE);
	stage_down();
}

static void
test_every_envelope_ends_once_whatever_happens(void **state)
{
	const char *text = getenv("QUEUE_SEED");
	uint64_t first = text != NULL ? strtoull(text, NULL, 10) : 1;
	uint64_t last = text != NULL ? first : 8;

	(void)state;
	for (uint64_t seed = first; seed <= last; seed++) {
		printf("QUEUE_SEED=%llu\n", (unsigned long long)seed);
		fflush(stdout);
		run(seed);
		printf("  %u messages, %u delivered\n", model.nmail, model.nsuccess);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_envelope_ends_once_whatever_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
