/*
 * test_queue_explain.c - what the queue says of an envelope, a message, an address, a domain.
 */
#include <stdio.h>
#include <string.h>

#include "stage.h"

struct asked {
	struct ga_queue_question q;
	bool answered;
};

static void
answered(struct ga_worker *asker, struct ga_queue_question *q)
{
	struct asked *a = q->arg;

	assert_ptr_equal(asker, ga_worker_main());
	a->answered = true;
}

static void
begin(struct asked *a)
{
	const struct ga_queue *queue = ga_service_get(GA_QUEUE_SERVICE, GA_QUEUE_VERSION);

	a->q.asker = ga_worker_main();
	a->q.facts = json_object_new_array();
	a->q.cb = answered;
	a->q.arg = a;
	queue->explain(&a->q);
	assert_false(a->answered);
}

static struct asked
ask(uint64_t id, const char *domain, const char *address)
{
	static struct asked a;

	a = (struct asked){ .q = { .envelope_id = id, .domain = ga_str_c(domain), .address = ga_str_c(address) } };
	begin(&a);
	for (int i = 0; i < 10000 && !a.answered; i++)
		bed_turn();
	assert_true(a.answered);
	return a;
}

static struct json_object *
fact(const struct asked *a, const char *what)
{
	struct json_object *word;

	for (size_t i = 0; i < json_object_array_length(a->q.facts); i++) {
		struct json_object *o = json_object_array_get_idx(a->q.facts, i);

		if (json_object_object_get_ex(o, "fact", &word) && strcmp(json_object_get_string(word), what) == 0)
			return o;
	}
	return NULL;
}

static bool
holds(const struct asked *a, const char *what)
{
	struct json_object *o = fact(a, what);

	assert_non_null(o);
	return json_object_get_boolean(json_object_object_get(o, "holds"));
}

static void
says(const struct asked *a, const char *what, const char *words)
{
	struct json_object *o = fact(a, what);
	const char *text;

	assert_non_null(o);
	text = json_object_get_string(json_object_object_get(o, "text"));
	if (strstr(text, words) == NULL)
		fail_msg("\"%s\" is not in: %s", words, text);
}

static void
counts(const struct asked *a, unsigned found, unsigned waiting, unsigned in_flight, unsigned held)
{
	assert_int_equal(a->q.found, found);
	assert_int_equal(a->q.waiting, waiting);
	assert_int_equal(a->q.in_flight, in_flight);
	assert_int_equal(a->q.held, held);
}

static void
done(const struct asked *a)
{
	json_object_put(a->q.facts);
}

static void
test_of_nothing_nothing_is_said(void **state)
{
	struct asked a;

	(void)state;
	a = ask(0, "big.example", "");
	counts(&a, 0, 0, 0, 0);
	assert_int_equal(json_object_array_length(a.q.facts), 0);
	done(&a);
	a = ask(0x12345678ULL << 32 | 1, "", "");
	counts(&a, 0, 0, 0, 0);
	done(&a);
	assert_int_equal(q_loop(ga_worker_get(0))->names != NULL, 0);	/* its name has no one left */
}

static void
test_a_deferral_waits_for_its_next_attempt(void **state)
{
	struct asked a;
	uint64_t id;

	(void)state;
	stage_accept((struct stage_mail){ .domain = "big.example" });
	stage.first->mx = strdup("mx.big.example");
	stage_end_all(GA_RESULT_DEFERRAL);
	a = ask(0, "big.example", "");
	counts(&a, 1, 1, 0, 0);
	id = a.q.of_envelope;
	assert_true(holds(&a, "retry"));
	says(&a, "retry", "attempt 2");
	assert_non_null(json_object_object_get(fact(&a, "retry"), "until"));
	says(&a, "last_reply", "451 4.0.0 later");
	says(&a, "last_reply", "mx.big.example");
	assert_false(holds(&a, "last_reply"));
	says(&a, "accepted", "attempts so far: 1");
	assert_string_equal(a.q.of_domain, "big.example");
	done(&a);
	a = ask(id, "", "");
	counts(&a, 1, 1, 0, 0);
	assert_true(a.q.of_envelope == id && a.q.message_key == id >> 32);
	done(&a);
	a = ask(id ^ 1, "", "");
	counts(&a, 0, 0, 0, 0);
	done(&a);
}

static void
test_a_message_is_asked_by_its_id_alone(void **state)
{
	struct asked a;

	(void)state;
	stage_accept((struct stage_mail){ .n = 5, .domain = "big.example" });
	a = ask(stage.first->envelope_id >> 32 << 32, "", "");
	counts(&a, 5, 0, 5, 0);
	says(&a, "out", "throttle");
	assert_false(holds(&a, "out"));
	done(&a);
}

static void
test_the_place_in_the_lane(void **state)
{
	struct asked a;

	(void)state;
	stage_accept((struct stage_mail){ .n = 203, .domain = "big.example" });
	stage_accept((struct stage_mail){ .n = 7, .domain = "small.example" });
	a = ask(0, "big.example", "");
	counts(&a, 203, 3, 200, 0);
	done(&a);
	for (struct q_loop *l = q_loop(ga_worker_get(0)); l != NULL; l = NULL)
		for (uint32_t i = 1; i < l->envelopes.n; i++)
			if (q_envelope(l, i)->state == Q_LANED && q_envelope(l, i)->lane_next == 0)
				a = ask((uint64_t)q_message(l, q_envelope(l, i)->message)->id << 32 |
				    q_envelope(l, i)->random, "", "");
	says(&a, "lane", "behind 2 others");
	done(&a);
}

static void
test_an_address_is_read_back(void **state)
{
	struct asked a;
	struct ga_envelope e;
	char reply[1001];
	uint64_t seq;

	(void)state;
	seq = stage_accept((struct stage_mail){ .n = 3, .domain = "big.example" });
	assert_true(stage_recorded(seq, 1, &e, reply));
	stage_accept((struct stage_mail){ .n = 3, .domain = "small.example" });
	{
		const struct stage_mail mail = { .n = 3, .domain = "big.example" };
		struct ga_message *m = stage_message(&mail, 77);
		char address[300];

		snprintf(address, sizeof address, "%.*s", (int)m->envelopes[1].recipient.n, m->envelopes[1].recipient.p);
		a = ask(0, "big.example", address);
		ga_message_unref(m);
	}
	counts(&a, 1, 0, 1, 0);
	done(&a);
	a = ask(0, "big.example", "nobody@big.example");
	counts(&a, 0, 0, 0, 0);
	done(&a);
}

static void
test_what_a_module_holds(void **state)
{
	struct asked a;

	(void)state;
	stage_accept((struct stage_mail){ .domain = "big.example", .hold = true });
	a = ask(0, "big.example", "");
	counts(&a, 1, 0, 0, 1);
	assert_true(holds(&a, "held"));
	done(&a);
}

static void
test_each_pause_is_named(void **state)
{
	const struct ga_queue *queue = ga_service_get(GA_QUEUE_SERVICE, GA_QUEUE_VERSION);
	struct asked a;

	(void)state;
	queue->pause(ga_worker_get(0), &(struct ga_pause){ .kind = GA_PAUSE_SEND, .name = GA_STR("spring"),
		.percent = 100, .reason = GA_STR("too many complaints"), .who = GA_STR("ada") });
	queue->pause(ga_worker_get(0), &(struct ga_pause){ .kind = GA_PAUSE_VIRTUAL_MTA, .name = GA_STR("First"),
		.percent = 100 });
	queue->pause(ga_worker_get(0), &(struct ga_pause){ .kind = GA_PAUSE_SENDER, .name = GA_STR("sender.example"),
		.domain = GA_STR("small.example"), .percent = 50 });
	bed_turns(10);
	stage_accept((struct stage_mail){ .domain = "big.example", .send = "spring" });
	a = ask(0, "big.example", "");
	counts(&a, 1, 0, 0, 1);
	assert_true(holds(&a, "pause_send"));
	says(&a, "pause_send", "by ada: too many complaints");
	assert_false(holds(&a, "paused"));
	assert_null(fact(&a, "pause_sender"));
	done(&a);
	stage_accept((struct stage_mail){ .domain = "other.example", .vmta = "first" });
	a = ask(0, "other.example", "");
	assert_true(holds(&a, "pause_virtual_mta"));
	done(&a);
	stage_accept((struct stage_mail){ .domain = "small.example" });
	a = ask(0, "small.example", "");
	says(&a, "pause_sender", "50 %");
	done(&a);
}

/* Of the walk, the read and the route of a question nothing is left when the daemon ends. */
static void
test_a_stop_leaves_nothing(void **state)
{
	struct asked a = { .q = { .domain = GA_STR("big.example"), .address = GA_STR("x@big.example") } };

	(void)state;
	for (unsigned turns = 0; turns < 6; turns++) {
		stage_accept((struct stage_mail){ .n = 3, .domain = "big.example" });
		a.answered = false;
		a.q.address.n = turns % 2 == 0 ? 13 : 0;
		begin(&a);
		bed_turns(turns / 2);
		stage_restart("");
		json_object_put(a.q.facts);
	}
}

static unsigned ended_between;

static void
end_some(struct ga_worker *w, struct ga_post *post)
{
	(void)w;
	(void)post;
	stage_end(stage.first, GA_RESULT_SUCCESS);
	for (ended_between = 1; ended_between < 100; ended_between++)
		stage_end(stage.first, GA_RESULT_DEFERRAL);
}

/* Mail ends between two slices; each envelope that stays is counted once. */
static void
test_many_are_counted_in_slices(void **state)
{
	struct asked a = { .q = { .domain = GA_STR("big.example") } };
	struct ga_post post = { .fn = end_some };

	(void)state;
	for (int i = 0; i < 30; i++)
		stage_accept((struct stage_mail){ .n = 1000, .domain = "big.example" });
	ended_between = 0;
	begin(&a);
	ga_loop_post(ga_worker_get(0), &post);	/* runs when the first slice is over */
	for (int i = 0; i < 100 && !a.answered; i++)
		bed_turn();
	assert_true(a.answered);
	assert_int_equal(ended_between, 100);
	assert_in_range(a.q.found, 29999, 30000);
	assert_int_equal(a.q.found, a.q.waiting + a.q.in_flight + a.q.held);
	stage_check();
	done(&a);
	bed_turns(10);
	a = ask(0, "big.example", "");
	assert_int_equal(a.q.found, 29999);
	done(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGE_TEST(test_of_nothing_nothing_is_said),
		STAGE_TEST(test_a_deferral_waits_for_its_next_attempt),
		STAGE_TEST(test_a_message_is_asked_by_its_id_alone),
		STAGE_TEST(test_the_place_in_the_lane),
		STAGE_TEST(test_an_address_is_read_back),
		STAGE_TEST_HOOKED(test_what_a_module_holds),
		STAGE_TEST(test_each_pause_is_named),
		STAGE_TEST(test_a_stop_leaves_nothing),
		STAGE_TEST(test_many_are_counted_in_slices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
