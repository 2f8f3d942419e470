/*
 * test_smtp_log.c - which lines hooks make in which directory, caps, and the flight recorder.
 *
 * The module on the test bed with its own clock, with a log_sink that keeps lines.  What is
 * pure (text.c, record.c) is called directly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../smtp_log.h"

#include "bed.h"

/* --- a log_sink --- */

static char logged[20000];		/* "directory: line\n" ... */
static unsigned nlogged;

static struct ga_log_dir *
sink_open(struct ga_str name, unsigned flags, const char *defaults)
{
	static char names[8][65];
	unsigned i = 0;

	assert_int_equal(flags, 0);
	assert_null(defaults);
	while (names[i][0] != '\0' && !ga_str_eq(ga_str_c(names[i]), name))
		i++;
	assert_true(i < 8);
	snprintf(names[i], sizeof names[i], "%.*s", (int)name.n, name.p);
	return (struct ga_log_dir *)(void *)names[i];
}

static bool
sink_write(struct ga_log_dir *dir, const struct ga_str *parts, size_t n)
{
	size_t at = strlen(logged);

	at += (size_t)snprintf(logged + at, sizeof logged - at, "%s: ", (const char *)dir);
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(logged + at, sizeof logged - at, "%.*s", (int)parts[i].n, parts[i].p);
	assert_true(at + 2 < sizeof logged);
	strcpy(logged + at, "\n");
	nlogged++;
	return true;
}

static const struct ga_log_sink sink = { sizeof sink, GA_LOG_SINK_VERSION, sink_open, sink_write, NULL };

static bool
sink_init(struct ga_inst *inst, const void *conf)
{
	(void)conf;
	ga_service_provide(inst, GA_LOG_SINK_SERVICE, GA_LOG_SINK_VERSION, &sink);
	return true;
}

GA_MODULE(sink, "1.0.0", "", GA_NO_HOOKS, GA_NO_DIRECTIVES, .summary = "log directories of the test",
    .flags = GA_KEEP_INSTANCE, .init = sink_init);

extern const struct ga_module smtp_log_LTX_ga_module;
static const struct ga_module *const modules[] = { &sink_LTX_ga_module, &smtp_log_LTX_ga_module, NULL };

/* --- connections and sessions --- */

static struct ga_connection connection;
static struct ga_ev_connection told;

static const struct ga_settings *
scope(const char *domain)
{
	struct ga_snapshot *s = ga_snapshot_current();
	const struct ga_settings *settings = ga_snapshot_resolve(s, GA_STR(""), ga_str_c(domain), NULL, 0);

	ga_snapshot_unref(s);
	return settings;
}

static void
up(const char *everywhere)
{
	static char text[2000];
	struct bed bed = { .conf = text, .modules = modules };

	snprintf(text, sizeof text, "ip_address * {\n%s\n}\n%s", everywhere, "smtp_service smtp2 {\n}\nsmtp_service Other {\n log_smtp_max_size 100\n}\n");
	logged[0] = '\0';
	nlogged = 0;
	connection = (struct ga_connection){ 0 };
	told = (struct ga_ev_connection){ .id = 7, .local = { GA_STR("127.0.0.2"), 4000, AF_INET },
		.remote = { GA_STR("2001:db8::1"), 25, AF_INET6 }, .mx_hostname = GA_STR("mx.example"),
		.virtual_mta = GA_STR("ip-1"), .domain = GA_STR("y.example"), .group_key = GA_STR("2,y.example"),
		.tls_version = GA_STR(""), .tls_cipher = GA_STR(""), .reason = GA_STR("") };
	bed_up(&bed);
	bed_turn();
}

static void
down(void)
{
	ga_connection_end(&connection);
	assert_int_equal(slog_record_used(), 0);
	bed_down();
}

/* As smtp_client does: what nobody wants is not told. */
static void
tell(const char *domain, enum ga_hook_id hook, const void *event)
{
	struct ga_run run = { .worker = ga_worker_get(0), .settings = scope(domain), .connection = &connection, .object_id = 7 };

	if (ga_settings_plan(run.settings)->hooks[hook] != NULL)
		ga_run_hook(&run, hook, event);
}

static void
line(const char *domain, enum ga_line kind, const char *text)
{
	struct ga_ev_line ev = { told.id, kind, ga_str_c(text), GA_STR("") };

	tell(domain, GA_HOOK_line, &ev);
}

static void
attempt(const char *domain, enum ga_outcome outcome)
{
	struct ga_ev_attempt ev = { .envelope_id = 0xabc, .connection_id = told.id, .recipient = GA_STR("r@y.example"),
		.outcome = outcome, .text = GA_STR("550 no") };

	if (outcome != GA_DELIVERED)
		tell(domain, GA_HOOK_attempt_failed, &ev);
}

static bool
wanted(const char *domain, enum ga_hook_id hook)
{
	return ga_settings_plan(scope(domain))->hooks[hook] != NULL;
}

static void
logged_is(const char *want)
{
	assert_string_equal(logged, want);
	logged[0] = '\0';
}

#define RL "rspawn-limiter: remote_smtp: "

/* --- outgoing --- */

static void
test_a_scope_that_logs_nothing_is_not_asked(void **state)
{
	(void)state;
	up("domain log.example {\n log_smtp_connections yes\n}\ndomain hex.example {\n log_smtp_hexdump yes\n}\n"
	    "domain fail.example {\n log_smtp_on_failure yes\n}\ndomain both.example {\n log_smtp_on_failure yes\n log_smtp_commands yes\n}");
	for (int hook = 0; hook < GA_HOOK_COUNT_; hook++)
		assert_false(wanted("off.example", (enum ga_hook_id)hook));
	assert_true(wanted("log.example", GA_HOOK_connection_saved) && !wanted("log.example", GA_HOOK_line));
	assert_true(wanted("hex.example", GA_HOOK_bytes) && !wanted("hex.example", GA_HOOK_line));
	assert_true(wanted("fail.example", GA_HOOK_line) && wanted("fail.example", GA_HOOK_attempt_failed));
	assert_false(wanted("fail.example", GA_HOOK_connection_reused) || wanted("fail.example", GA_HOOK_bytes));
	assert_true(wanted("both.example", GA_HOOK_line) && !wanted("both.example", GA_HOOK_attempt_failed));
	down();
}

static void
test_events_of_a_connection(void **state)
{
	(void)state;
	up("log_smtp_connections yes");
	tell("y.example", GA_HOOK_connection_opened, &told);
	logged_is(RL "(7) * connect 127.0.0.2:4000 -> [2001:db8::1]:25 mx=mx.example vmta=ip-1 domain=y.example throttle=2,y.example\n");
	told.tls_version = GA_STR("TLS1.3");
	told.tls_cipher = GA_STR("AES");
	told.verified = true;
	tell("y.example", GA_HOOK_connection_tls, &told);
	told.deliveries_done = 2;
	tell("y.example", GA_HOOK_connection_saved, &told);
	told.reason = GA_STR("it\nbroke");
	tell("y.example", GA_HOOK_connection_closed, &told);
	logged_is(RL "(7) * tls TLS1.3 AES verified=yes\n" RL "(7) * saved deliveries=2\n"
	    RL "(7) * close deliveries=2 reason=it\\x0abroke\n");
	told.id = 8;
	told.local.port = 0;
	told.reason = GA_STR("refused");
	tell("y.example", GA_HOOK_connection_failed, &told);
	logged_is(RL "(8) * connect failed 127.0.0.2 -> [2001:db8::1]:25 mx=mx.example vmta=ip-1 domain=y.example throttle=2,y.example reason=refused\n");
	down();
}

static void
test_a_connection_is_logged_while_it_serves_a_domain_that_asks(void **state)
{
	(void)state;
	up("domain log.example {\n log_smtp_commands yes\n log_smtp_file of-log\n}");
	line("off.example", GA_OUT_CMD, "MAIL FROM:<a>");
	line("log.example", GA_OUT_CMD, "MAIL FROM:<b>");
	line("log.example", GA_OUT_REPLY, "250 ok");
	line("off.example", GA_OUT_CMD, "MAIL FROM:<c>");
	logged_is("of-log: remote_smtp: (7) > MAIL FROM:<b>\nof-log: remote_smtp: (7) < 250 ok\n");
	down();
}

static void
test_replies_are_timed(void **state)
{
	(void)state;
	up("log_smtp_timings yes");
	tell("y.example", GA_HOOK_connection_opened, &told);
	logged[0] = '\0';
	bed_advance(5);
	line("y.example", GA_OUT_REPLY, "220 hello");
	line("y.example", GA_OUT_CMD, "EHLO x");
	bed_advance(1250);
	line("y.example", GA_OUT_REPLY, "250-a");
	line("y.example", GA_OUT_REPLY, "250 b");
	logged_is(RL "(7) * reply 220 after 5.000 ms\n" RL "(7) * reply 250 after 1250.000 ms\n");
	down();
}

static void
octets(enum ga_line kind, bool secret, const char *text)
{
	struct ga_ev_bytes ev = { 7, kind, false, secret, ga_str_c(text) };

	tell("y.example", GA_HOOK_bytes, &ev);
}

static void
test_a_hexdump_counts_octets_of_each_direction_and_hides_credentials(void **state)
{
	(void)state;
	up("log_smtp_hexdump yes");
	octets(GA_OUT_CMD, false, "EHLO mail.example\r\n");
	octets(GA_OUT_REPLY, false, "250 ok\r\n");
	octets(GA_OUT_CMD, true, "secret");
	octets(GA_OUT_CMD, false, "\\\r\n");
	logged_is(RL "(7) h > 00000000  45 48 4c 4f 20 6d 61 69 6c 2e 65 78 61 6d 70 6c  |EHLO mail.exampl|\n"
	    RL "(7) h > 00000010  65 0d 0a                                         |e..|\n"
	    RL "(7) h < 00000000  32 35 30 20 6f 6b 0d 0a                          |250 ok..|\n"
	    RL "(7) h > [credentials]\n"
	    RL "(7) h > 00000013  5c 0d 0a                                         |...|\n");
	down();
}

static void
test_credentials_come_only_where_they_are_asked_for(void **state)
{
	struct ga_ev_line ev = { 7, GA_OUT_CMD, GA_STR("AUTH PLAIN [credentials]"), GA_STR("AUTH PLAIN c2VjcmV0") };

	(void)state;
	up("log_smtp_commands yes\ndomain open.example {\n log_smtp_credentials yes\n}");
	tell("y.example", GA_HOOK_line, &ev);
	tell("open.example", GA_HOOK_line, &ev);
	logged_is(RL "(7) > AUTH PLAIN [credentials]\n" RL "(7) > AUTH PLAIN c2VjcmV0\n");
	down();
}

/* --- caps --- */

static void
test_a_session_over_its_size_is_told_at_its_end(void **state)
{
	(void)state;
	up("log_smtp_commands yes\nlog_smtp_max_size 60");
	line("y.example", GA_OUT_CMD, "0123456789");		/* 29 octets with what is before it */
	line("y.example", GA_OUT_CMD, "0123456789");
	line("y.example", GA_OUT_CMD, "x");
	line("y.example", GA_OUT_CMD, "y");
	tell("y.example", GA_HOOK_connection_saved, &told);
	told.reason = GA_STR("quit");
	tell("y.example", GA_HOOK_connection_closed, &told);
	logged_is(RL "(7) > 0123456789\n" RL "(7) > 0123456789\n" RL "(7) * saved deliveries=0\n"
	    RL "(7) * left out 2 lines (40 octets): log_smtp_max_size 60\n" RL "(7) * close deliveries=0 reason=quit\n");
	down();
}

static void
test_lines_over_the_rate_are_told_once_a_second(void **state)
{
	(void)state;
	up("log_smtp_commands yes\nlog_smtp_max_rate 4/s");
	bed_advance(10000);
	for (unsigned i = 0; i < 20; i++)
		line("y.example", GA_OUT_CMD, "NOOP");
	assert_int_equal(nlogged, 4);
	bed_advance(999);
	bed_turn();
	assert_int_equal(nlogged, 4);
	logged[0] = '\0';
	bed_advance(1);
	bed_turn();
	assert_non_null(strstr(logged, "rspawn-limiter: remote_smtp: * left out 16 lines (368 octets): log_smtp_max_rate 4/s ("));
	assert_int_equal(nlogged, 5);
	for (unsigned i = 0; i < 20; i++)
		line("y.example", GA_OUT_CMD, "NOOP");
	assert_int_equal(nlogged, 9);
	down();
	assert_non_null(strstr(logged, "left out 16 lines"));	/* a stop tells the rest */
}

static void
test_a_rate_below_one_a_second_lets_lines_through(void **state)
{
	(void)state;
	up("log_smtp_commands yes\nlog_smtp_max_rate 30/min");
	bed_advance(10000);
	for (unsigned i = 0; i < 2; i++)
		line("y.example", GA_OUT_CMD, "NOOP");
	assert_int_equal(nlogged, 1);
	bed_advance(2000);
	line("y.example", GA_OUT_CMD, "NOOP");
	assert_non_null(strstr(logged, "left out 1 line"));
	assert_int_equal(nlogged, 3);
	down();
}

/* --- the flight recorder --- */

static void
test_the_recorder_writes_what_failed_with_its_times_and_nothing_else(void **state)
{
	(void)state;
	up("log_smtp_on_failure yes\nlog_smtp_on_failure_lines 3");
	tell("y.example", GA_HOOK_connection_opened, &told);
	line("y.example", GA_OUT_REPLY, "220 hello");
	line("y.example", GA_OUT_CMD, "EHLO x");
	attempt("y.example", GA_DELIVERED);
	logged_is("");
	line("y.example", GA_OUT_REPLY, "550 n\\o");
	line("y.example", GA_OUT_CMD, "QUIT");
	attempt("y.example", GA_FAILED);
	assert_int_equal(nlogged, 4);
	assert_non_null(strstr(logged, RL "(7) * failure of envelope 0000000000000abc to <r@y.example>, the session's last 3 lines: 550 no\n"));
	assert_null(strstr(logged, "220"));
	assert_non_null(strstr(logged, "Z] EHLO x\n"));
	assert_non_null(strstr(logged, "Z] 550 n\\\\o\n"));
	attempt("y.example", GA_DEFERRED);			/* nothing was said since */
	assert_int_equal(nlogged, 4);
	down();
}

static void
test_without_memory_the_recorder_says_so(void **state)
{
	(void)state;
	up("log_smtp_on_failure yes");
	slog_record_memory(0);
	line("y.example", GA_OUT_CMD, "EHLO x");
	attempt("y.example", GA_DEFERRED);
	logged_is(RL "(7) * deferral of envelope 0000000000000abc to <r@y.example>, the session's last 0 lines "
	    "(there was no memory for more): 550 no\n");
	down();
}

static void
text_of(char *room, size_t n, unsigned i)
{
	memset(room, 'a' + (int)(i % 26), n);
}

struct seen { unsigned n; uint64_t last; };

static void
see(const struct slog_recorded *line, void *arg)
{
	struct seen *s = arg;

	assert_true(s->n == 0 || line->id == s->last + 1);
	assert_int_equal(line->at_ms, line->id);
	assert_true(line->text.n <= SLOG_TEXT);
	assert_true(line->text.n == 0 || line->text.p[line->text.n - 1] == 'a' + (char)(line->id % 26));
	s->last = line->id;
	s->n++;
}

/* Whatever the lengths, and when another number is asked for meanwhile. */
static void
test_a_record_is_the_last_lines(void **state)
{
	struct slog_record r = { .newer = 0 };
	char room[SLOG_TEXT + 100];

	(void)state;
	slog_record_memory(1 << 20);
	srandom(1);
	for (unsigned i = 0; i < 5000; i++) {
		size_t n = (size_t)random() % (i % 100 == 0 ? sizeof room : 120);
		unsigned most = 1 + (i / 500) * 7;
		struct seen seen = { 0 };

		text_of(room, n, i);
		slog_record_add(&r, most, &(struct slog_recorded){ i, i, '>', { room, n } });
		slog_record_each(&r, most, i + 7, see, &seen);
		assert_int_equal(seen.last, i);
		assert_int_equal(seen.n, slog_record_lines(&r, most));
		assert_true(seen.n <= most && (seen.n == most || i % 500 < most));
	}
	assert_false(r.short_of);
	slog_record_free(&r);
	assert_int_equal(slog_record_used(), 0);
}

static void
test_all_records_stay_within_their_memory(void **state)
{
	struct slog_record r[20] = { { .newer = 0 } };
	char room[SLOG_TEXT];

	(void)state;
	slog_record_memory(20000);
	text_of(room, sizeof room, 0);
	for (unsigned i = 0; i < 20 * 100; i++) {
		slog_record_add(&r[i % 20], 50, &(struct slog_recorded){ i, i, '<', { room, sizeof room } });
		assert_true(slog_record_used() <= 20000);
	}
	assert_true(slog_record_lines(&r[0], 50) > 0 && r[0].short_of);
	assert_true(slog_record_lines(&r[19], 50) == 0 && r[19].short_of);
	for (unsigned i = 0; i < 20; i++)
		slog_record_free(&r[i]);
	assert_int_equal(slog_record_used(), 0);
}

/* --- incoming --- */

struct incoming {
	struct ga_session *s;
	const struct ga_settings *settings;
};

static void
tell_in(struct incoming *in, enum ga_hook_id hook, const void *event)
{
	struct ga_run run = { .worker = ga_worker_get(0), .settings = in->settings, .session = in->s, .object_id = 3 };

	if (ga_session_plan(in->s)->hooks[hook] != NULL)
		ga_run_hook(&run, hook, event);
}

static void
line_in(struct incoming *in, enum ga_line kind, const char *text)
{
	struct ga_ev_line ev = { 3, kind, ga_str_c(text), GA_STR("") };

	tell_in(in, GA_HOOK_line, &ev);
}

static void
content(struct incoming *in, const char *text)
{
	struct ga_ev_bytes ev = { 3, GA_IN_CMD, true, false, ga_str_c(text) };

	tell_in(in, GA_HOOK_bytes, &ev);
}

/* variable NULL: none. */
static struct incoming
client(const char *service, const char *variable)
{
	struct ga_snapshot *snapshot = ga_snapshot_current();
	struct incoming in = { .settings = ga_snapshot_object(snapshot, ga_object_find(snapshot, "smtp_service", ga_str_c(service))) };
	struct ga_ev_connect ev = { .peer = { GA_STR("192.0.2.1"), 5, AF_INET }, .local = { GA_STR("127.0.0.1"), 25, AF_INET },
		.service = ga_str_c(service) };

	ga_snapshot_unref(snapshot);
	in.s = ev.s = ga_session_new(ga_worker_get(0), in.settings);
	tell_in(&in, GA_HOOK_connect, &ev);
	if (variable != NULL)		/* by a module that is asked after us */
		ga_session_variable_set(in.s, ga_str_c(variable), GA_STR(""));
	line_in(&in, GA_IN_REPLY, "220 hi");
	return in;
}

static void
gone(struct incoming *in)
{
	struct ga_ev_disconnect ev = { .s = in->s, .session_id = 3, .messages = 1, .reason = GA_STR("quit") };

	tell_in(in, GA_HOOK_disconnect, &ev);
	ga_session_free(in->s, GA_END_DONE);
}

static void
test_a_session_without_variables_is_left(void **state)
{
	struct incoming in;

	(void)state;
	up("");
	in = client("smtp2", "SOMETHING_ELSE");
	for (int hook = 0; hook < GA_HOOK_COUNT_; hook++)
		assert_null(ga_session_plan(in.s)->hooks[hook]);
	gone(&in);
	logged_is("");
	down();
}

#define IN2 "qmail-smtpd2: smtpd: (3) "

static void
test_commands_without_the_message(void **state)
{
	struct incoming in;

	(void)state;
	up("");
	in = client("smtp2", "GREENARROW_LOG_SMTP_COMMANDS");
	line_in(&in, GA_IN_CMD, "DATA");
	content(&in, "text\r\n.\r\n");
	gone(&in);
	logged_is(IN2 "* connect 192.0.2.1:5 -> 127.0.0.1:25 service=smtp2\n" IN2 "> 220 hi\n" IN2 "< DATA\n"
	    IN2 "* close messages=1 reason=quit\n");
	down();
}

static void
test_a_client_that_turns_out_to_be_another_is_decided_anew(void **state)
{
	struct incoming in;
	struct ga_ev_connect ev = { .peer = { GA_STR("192.0.2.2"), 6, AF_INET }, .local = { GA_STR("127.0.0.1"), 25, AF_INET } };

	(void)state;
	up("");
	in = client("smtp2", NULL);
	ev.s = in.s;
	ga_session_variables_clear(in.s);
	tell_in(&in, GA_HOOK_connect, &ev);
	ga_session_variable_set(in.s, GA_STR("GREENARROW_LOG_SMTP_COMMANDS"), GA_STR(""));
	line_in(&in, GA_IN_REPLY, "220 again");
	logged_is(IN2 "* connect 192.0.2.2:6 -> 127.0.0.1:25 service=smtp2\n" IN2 "> 220 again\n");
	gone(&in);
	down();
}

static void
test_lines_of_a_message_are_put_together(void **state)
{
	struct incoming in;
	char long_line[SLOG_TEXT + 30];
	char want[SLOG_TEXT + 300];

	(void)state;
	up("");
	in = client("smtp2", "GREENARROW_LOG_SMTP_MESSAGE");
	logged[0] = '\0';
	content(&in, "on");
	content(&in, "e\r");
	content(&in, "\ntwo\r\n\r\nno");
	content(&in, " end");
	line_in(&in, GA_IN_REPLY, "250 kept");
	logged_is(IN2 "< one\n" IN2 "< two\n" IN2 "< \n" IN2 "< no end\n" IN2 "> 250 kept\n");
	memset(long_line, 'x', sizeof long_line);
	memcpy(long_line + SLOG_TEXT + 20, "\r\n", 3);
	content(&in, long_line);
	snprintf(want, sizeof want, IN2 "< %.*s [and 20 octets]\n", (int)SLOG_TEXT, long_line);
	logged_is(want);
	gone(&in);
	down();
}

static void
test_another_service_has_its_own_directory_and_cap(void **state)
{
	struct incoming in;

	(void)state;
	up("");
	in = client("Other", "GREENARROW_LOG_SMTP_MESSAGE");
	for (unsigned i = 0; i < 10; i++)
		content(&in, "0123456789\r\n");		/* 23 octets each, and 19 the greeting */
	gone(&in);
	assert_non_null(strstr(logged, "qmail-smtpd-other: smtpd: (3) * left out 7 lines (161 octets): log_smtp_max_size 100\n"));
	assert_non_null(strstr(logged, "qmail-smtpd-other: smtpd: (3) * close "));
	down();
}

/* --- text --- */

static void
test_a_cut_is_not_within_a_character(void **state)
{
	char s[SLOG_TEXT + 10];
	size_t cut;

	(void)state;
	memset(s, 'a', sizeof s);
	assert_int_equal(slog_cut((struct ga_str){ s, SLOG_TEXT }, &cut).n, SLOG_TEXT);
	assert_int_equal(cut, 0);
	memcpy(s + SLOG_TEXT - 2, "\xe2\x82\xac", 3);
	assert_int_equal(slog_cut((struct ga_str){ s, sizeof s }, &cut).n, SLOG_TEXT - 2);
	assert_int_equal(cut, 12);
	memset(s, '\x80', sizeof s);			/* no UTF-8: cut anyhow */
	assert_true(slog_cut((struct ga_str){ s, sizeof s }, &cut).n >= SLOG_TEXT - 4);
}

static void
test_what_has_to_be_escaped_is_found(void **state)
{
	static const char *const clean[] = { "", "250 ok", "gr\xc3\xbc\xc3\x9f", "\xf0\x9f\x93\xa7 mail" };
	static const char *const unclean[] = { "\x1b[31m", "a\tb", "back\\slash", "\x7f", "\xff", "\xc2\x9b""31m", "\xc3" };

	(void)state;
	for (size_t i = 0; i < sizeof clean / sizeof clean[0]; i++)
		assert_true(slog_is_clean(ga_str_c(clean[i])));
	for (size_t i = 0; i < sizeof unclean / sizeof unclean[0]; i++)
		assert_false(slog_is_clean(ga_str_c(unclean[i])));
	assert_false(slog_is_clean((struct ga_str){ "a\0b", 3 }));
}

#define TEST(f) cmocka_unit_test(f)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_scope_that_logs_nothing_is_not_asked),
		TEST(test_events_of_a_connection),
		TEST(test_a_connection_is_logged_while_it_serves_a_domain_that_asks),
		TEST(test_replies_are_timed),
		TEST(test_a_hexdump_counts_octets_of_each_direction_and_hides_credentials),
		TEST(test_credentials_come_only_where_they_are_asked_for),
		TEST(test_a_session_over_its_size_is_told_at_its_end),
		TEST(test_lines_over_the_rate_are_told_once_a_second),
		TEST(test_a_rate_below_one_a_second_lets_lines_through),
		TEST(test_the_recorder_writes_what_failed_with_its_times_and_nothing_else),
		TEST(test_without_memory_the_recorder_says_so),
		TEST(test_a_record_is_the_last_lines),
		TEST(test_all_records_stay_within_their_memory),
		TEST(test_a_session_without_variables_is_left),
		TEST(test_commands_without_the_message),
		TEST(test_a_client_that_turns_out_to_be_another_is_decided_anew),
		TEST(test_lines_of_a_message_are_put_together),
		TEST(test_another_service_has_its_own_directory_and_cap),
		TEST(test_a_cut_is_not_within_a_character),
		TEST(test_what_has_to_be_escaped_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
