/*
 * test_smtp_patterns.c - which patterns act on a reply, and what they ask of throttle and queue.
 *
 * The module on the test bed, with a throttle and a queue that write down what they are
 * asked.  regcomp() and regfree() are counted: what is compiled is freed with its settings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "../smtp_patterns.h"

#include <greenarrow/run.h>
#include <greenarrow/service/delivery.h>
#include <greenarrow/service/queue.h>

#include "bed.h"

/* --- what is compiled --- */

static int compiled_now;

int __real_regcomp(regex_t *, const char *, int);
void __real_regfree(regex_t *);
int __wrap_regcomp(regex_t *, const char *, int);
void __wrap_regfree(regex_t *);

int
__wrap_regcomp(regex_t *re, const char *text, int flags)
{
	int failed = __real_regcomp(re, text, flags);

	compiled_now += failed == 0;
	return failed;
}

void
__wrap_regfree(regex_t *re)
{
	compiled_now--;
	__real_regfree(re);
}

/* --- a throttle and a queue --- */

static struct {
	unsigned backoffs, pauses;
	char key[64], why[300];
	uint64_t ms;
	struct ga_pause pause;
	char name[300], domain[300], scope[64], reason[300];
} asked;

static void
copy(char *to, size_t room, struct ga_str s)
{
	snprintf(to, room, "%.*s", (int)s.n, s.n > 0 ? s.p : "");
}

static void
begin_backoff(struct ga_worker *w, struct ga_str key, const char *reason, uint64_t ms)
{
	assert_ptr_equal(w, ga_worker_get(0));
	asked.backoffs++;
	copy(asked.key, sizeof asked.key, key);
	copy(asked.why, sizeof asked.why, ga_str_c(reason));
	asked.ms = ms;
}

static void
pause_mail(struct ga_worker *w, const struct ga_pause *p)
{
	assert_ptr_equal(w, ga_worker_get(0));
	asked.pauses++;
	asked.pause = *p;
	copy(asked.name, sizeof asked.name, p->name);
	copy(asked.domain, sizeof asked.domain, p->domain);
	copy(asked.scope, sizeof asked.scope, p->scope);
	copy(asked.reason, sizeof asked.reason, p->reason);
}

static const struct ga_throttle throttle = { .size = sizeof throttle, .version = GA_THROTTLE_VERSION,
	.begin_backoff = begin_backoff };
static const struct ga_queue queue = { .size = sizeof queue, .version = GA_QUEUE_VERSION, .pause = pause_mail };

static bool
services_init(struct ga_inst *inst, const void *conf)
{
	(void)conf;
	ga_service_provide(inst, GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION, &throttle);
	ga_service_provide(inst, GA_QUEUE_SERVICE, GA_QUEUE_VERSION, &queue);
	return true;
}

GA_MODULE(services, "1.0.0", "", GA_NO_HOOKS, GA_NO_DIRECTIVES, .summary = "throttle and queue of the test",
    .flags = GA_KEEP_INSTANCE, .init = services_init);

extern const struct ga_module smtp_patterns_LTX_ga_module;
static const struct ga_module *const modules[] = { &services_LTX_ga_module, &smtp_patterns_LTX_ga_module, NULL };

/* --- one attempt --- */

static struct ga_ev_attempt ev;
static struct ga_run run;

static const char *
everywhere(const char *statements)
{
	static char conf[5000];

	snprintf(conf, sizeof conf, "ip_address * {\n%s}\n", statements);
	return conf;
}

static void
begin(const char *statements)
{
	bed_up(&(struct bed){ .conf = everywhere(statements), .modules = modules });
	ev = (struct ga_ev_attempt){ .sender = GA_STR("a@B\xc3\xbc" "cher.example"), .recipient = GA_STR("b@receiver.example"),
		.domain = GA_STR("receiver.example"), .outcome = GA_FAILED, .code = 550, .enhanced = GA_STR("5.7.1"),
		.text = GA_STR("550 5.7.1 one two"), .reply = GA_STR("550-5.7.1 one\n550 5.7.1 two"),
		.group_key = GA_STR("2,receiver.example"), .from_domain = GA_STR("from.example") };
}

static enum ga_verdict
answer_in(const char *domain)
{
	struct ga_snapshot *s = ga_snapshot_current();
	enum ga_verdict verdict;

	memset(&asked, 0, sizeof asked);
	run = (struct ga_run){ .worker = ga_worker_get(0),
		.settings = ga_snapshot_resolve(s, GA_STR(""), ga_str_c(domain), NULL, 0) };
	verdict = ga_run_hook(&run, GA_HOOK_result, &ev);
	ga_snapshot_unref(s);
	return verdict;
}

static enum ga_verdict
answer(void)
{
	return answer_in("receiver.example");
}

static int
down(void **state)
{
	(void)state;
	bed_down();
	return 0;
}

/* --- tests --- */

static void
test_each_of_result_backoff_and_pause_is_the_first_match_s(void **state)
{
	(void)state;
	begin("smtp_match_pause_domain one for=3h\nsmtp_match_begin_backoff_mode one for=5h\noverride_smtp_result one failure\n"
	    "smtp_pattern three result=success\nsmtp_pattern ONE backoff=1m\n"
	    "smtp_pattern two result=deferral pause=2m percent=25%, two backoff result=success pause\n");
	assert_int_equal(answer(), GA_TEMPFAIL);
	assert_int_equal(asked.backoffs, 1);
	assert_int_equal(asked.ms, 60000);
	assert_string_equal(asked.key, "2,receiver.example");
	assert_string_equal(asked.why, "ONE matched 550 5.7.1 one two");
	assert_int_equal(asked.pauses, 1);
	assert_int_equal(asked.pause.until_ms, ga_wall_ms() + 120000);
	assert_true(asked.pause.percent == 25);
	assert_int_equal(run.reply.text[0], '\0');
}

static void
test_what_matches_nothing_is_left_as_it_was(void **state)
{
	(void)state;
	begin("smtp_pattern three result=success\nsmtp_match_begin_backoff_mode \"^one\"\n");
	assert_int_equal(answer(), GA_PASS);
	assert_int_equal(asked.backoffs + asked.pauses, 0);
}

static void
test_a_pause_is_of_the_sender_s_domain_as_the_queue_writes_it(void **state)
{
	(void)state;
	begin("smtp_match_pause_domain two\n");
	assert_int_equal(answer(), GA_PASS);
	assert_int_equal(asked.pause.kind, GA_PAUSE_SENDER);
	assert_string_equal(asked.name, "xn--bcher-kva.example");
	assert_string_equal(asked.domain, "receiver.example");
	assert_string_equal(asked.scope, "");
	assert_string_equal(asked.reason, "550 5.7.1 one two");
	assert_false(asked.pause.from_header);
	assert_int_equal(asked.pause.until_ms, ga_wall_ms() + 600000);
	assert_true(asked.pause.percent == 100);
	ev.group_key = GA_STR("ip2pd7");
	answer();
	assert_string_equal(asked.scope, "pd7");
	assert_string_equal(asked.domain, "");
	ev.group_key = GA_STR("relay5");
	answer();
	assert_string_equal(asked.scope, "");
	assert_string_equal(asked.domain, "receiver.example");
	ev.sender = GA_STR("");
	answer();
	assert_int_equal(asked.pauses, 0);
}

static void
test_a_pause_by_from_is_of_the_header_s_domain_and_the_next_rule_acts_without_one(void **state)
{
	(void)state;
	begin("smtp_match_pause_domain two key=from, two key=mailfrom for=1m\n");
	answer();
	assert_int_equal(asked.pauses, 1);
	assert_string_equal(asked.name, "from.example");
	assert_true(asked.pause.from_header);
	ev.from_domain = GA_STR("");
	answer();
	assert_int_equal(asked.pauses, 1);
	assert_string_equal(asked.name, "xn--bcher-kva.example");
	assert_int_equal(asked.pause.until_ms, ga_wall_ms() + 60000);
}

static void
test_a_delivery_is_no_reason_for_backoff_or_a_pause_unless_smtp_pattern_says_so(void **state)
{
	(void)state;
	begin("smtp_match_pause_domain two\nsmtp_match_begin_backoff_mode two\ndomain receiver.example {\nsmtp_pattern two backoff\n}\n"
	    "override_smtp_result two deferral\n");
	ev.outcome = GA_DELIVERED;
	assert_int_equal(answer_in("other.example"), GA_TEMPFAIL);
	assert_int_equal(asked.backoffs + asked.pauses, 0);
	assert_int_equal(answer(), GA_TEMPFAIL);
	assert_int_equal(asked.backoffs, 1);
	assert_int_equal(asked.ms, 0);
	ev.outcome = GA_DEFERRED;
	answer_in("other.example");
	assert_int_equal(asked.backoffs, 1);
	assert_int_equal(asked.pauses, 1);
}

static void
test_raw_sees_the_reply_as_it_came_and_nothing_where_there_was_none(void **state)
{
	(void)state;
	begin("override_smtp_result \"one.550 5.7.1 two$\" deferral match_format=raw\nsmtp_pattern refused result=failure\n"
	    "smtp_match_begin_backoff_mode refused match_format=raw\n");
	assert_int_equal(answer(), GA_TEMPFAIL);
	ev.text = GA_STR("connect: Connection refused");
	ev.reply = GA_STR("");
	ev.outcome = GA_DEFERRED;
	ev.code = 0;
	assert_int_equal(answer(), GA_REJECT);
	assert_int_equal(asked.backoffs, 0);
}

static void
test_the_text_takes_the_place_of_the_reply_s_under_its_codes(void **state)
{
	(void)state;
	begin("override_smtp_result two deferral text=\"50% of \\\"two\\\"\"\nsmtp_pattern two backoff\n");
	assert_int_equal(answer(), GA_TEMPFAIL);
	assert_string_equal(run.reply.text, "50% of \"two\"");
	assert_int_equal(run.reply.code, 550);
	assert_string_equal(run.reply.enhanced, "5.7.1");
}

static void
test_patterns_are_compiled_once_and_freed_with_their_settings(void **state)
{
	char conf[4000] = "smtp_pattern one backoff, two backoff\n";
	size_t n = strlen(conf);

	(void)state;
	for (int i = 0; i < 50; i++)
		n += (size_t)snprintf(conf + n, sizeof conf - n, "domain d%d.example {\nsmtp_match_pause_domain two\n}\n", i);
	begin(conf);
	assert_int_equal(compiled_now, 0);
	for (int i = 0; i < 50; i++) {
		char domain[20];

		snprintf(domain, sizeof domain, "d%d.example", i);
		answer_in(domain);
		assert_int_equal(asked.backoffs + asked.pauses, 2);
		assert_int_equal(compiled_now, 2);
	}
	for (int i = 0; i < 30; i++) {
		snprintf(conf, sizeof conf, "smtp_pattern \"one|%d\" result=deferral\n", i);
		bed_reload(everywhere(conf));
		assert_int_equal(answer(), GA_TEMPFAIL);
		bed_turns(20);
		assert_int_equal(compiled_now, 1);
	}
	bed_reload("");
	assert_int_equal(answer(), GA_PASS);
	bed_turns(20);
	assert_int_equal(compiled_now, 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_teardown(name, down)
	const struct CMUnitTest tests[] = {
		T(test_each_of_result_backoff_and_pause_is_the_first_match_s),
		T(test_what_matches_nothing_is_left_as_it_was),
		T(test_a_pause_is_of_the_sender_s_domain_as_the_queue_writes_it),
		T(test_a_pause_by_from_is_of_the_header_s_domain_and_the_next_rule_acts_without_one),
		T(test_a_delivery_is_no_reason_for_backoff_or_a_pause_unless_smtp_pattern_says_so),
		T(test_raw_sees_the_reply_as_it_came_and_nothing_where_there_was_none),
		T(test_the_text_takes_the_place_of_the_reply_s_under_its_codes),
		T(test_patterns_are_compiled_once_and_freed_with_their_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
