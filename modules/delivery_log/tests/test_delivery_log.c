/*
 * test_delivery_log.c - which line is written for an attempt, in each format, and where.
 *
 * The module on the test bed, with a sink that keeps what it is given.  JSON is read by json-c;
 * CSV by a reader of RFC 4180 written here, which knows nothing of the writer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "../delivery_log.h"

#include <greenarrow/mail.h>
#include <greenarrow/service/log_sink.h>

#include "bed.h"

/* --- the sink --- */

struct ga_log_dir {
	char name[64], limits[64];
	unsigned flags, lines;
	char head[400];			/* each file begins with it */
	char line[DL_LINE_MAX + 1];	/* the last one */
};
static struct ga_log_dir dirs[3];

static struct ga_log_dir *
open_dir(struct ga_str name, unsigned flags, const char *defaults)
{
	size_t i = 0;

	while (i < 3 && dirs[i].name[0] != '\0' && !ga_str_eq(name, ga_str_c(dirs[i].name)))
		i++;
	assert_true(i < 3);
	snprintf(dirs[i].name, sizeof dirs[i].name, "%.*s", (int)name.n, name.p);
	snprintf(dirs[i].limits, sizeof dirs[i].limits, "%s", defaults);
	dirs[i].flags = flags;
	return &dirs[i];
}

static bool
write_line(struct ga_log_dir *d, const struct ga_str *parts, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		assert_true(at + parts[i].n <= DL_LINE_MAX);
		memcpy(d->line + at, parts[i].p, parts[i].n);
		at += parts[i].n;
	}
	d->line[at] = '\0';
	assert_int_equal(strlen(d->line), at);
	assert_true(ga_utf8_valid((struct ga_str){ d->line, at }));
	for (size_t i = 0; i < at; i++)
		assert_true((unsigned char)d->line[i] >= ' ' || d->line[i] == '\t');
	d->lines++;
	return true;
}

static void
begin_with_line(struct ga_log_dir *d, struct ga_str line)
{
	snprintf(d->head, sizeof d->head, "%.*s", (int)line.n, line.p);
}

static const struct ga_log_sink sink = { .size = sizeof sink, .version = GA_LOG_SINK_VERSION, .open = open_dir,
	.write = write_line, .begin_with = begin_with_line };

static bool
services_init(struct ga_inst *inst, const void *conf)
{
	(void)conf;
	ga_service_provide(inst, GA_LOG_SINK_SERVICE, GA_LOG_SINK_VERSION, &sink);
	return true;
}

GA_MODULE(services, "1.0.0", "", GA_NO_HOOKS, GA_NO_DIRECTIVES, .summary = "the test's log_sink",
    .flags = GA_KEEP_INSTANCE, .init = services_init);

extern const struct ga_module delivery_log_LTX_ga_module;
static const struct ga_module *const modules[] = { &services_LTX_ga_module, &delivery_log_LTX_ga_module, NULL };

/* --- one attempt --- */

static struct ga_ev_attempt ev;
static struct ga_message *message;

static const char *
everywhere(const char *statements)
{
	static char conf[1000];

	snprintf(conf, sizeof conf, "general {\n%s\n}\n", statements);
	return conf;
}

static struct ga_message *
new_message(const char *header, const char *recipient)
{
	struct ga_attrs attrs = { NULL, 0, 0 }, to = { NULL, 0, 0 };
	struct ga_body *body = ga_body_new();
	struct ga_message *m;
	struct ga_str packed;

	ga_body_append(body, header, strlen(header));
	ga_body_append(body, "body\r\n", 6);
	ga_attrs_put(&attrs, GA_ATTR_SENDER, GA_STR("a@sender.example"));
	ga_attrs_put_u32(&attrs, GA_ATTR_HEADER_SIZE, (uint32_t)strlen(header));
	ga_attrs_put(&attrs, GA_ATTR_MSGUID, GA_STR("1726063520.92421863"));
	ga_attrs_put(&attrs, GA_ATTR_SEND_ID, GA_STR("Spring-24"));
	ga_attrs_put(&attrs, GA_ATTR_LIST_ID, GA_STR("L_7"));
	ga_attrs_put(&attrs, GA_ATTR_CLICK_TRACKING_ID, GA_STR("c-1"));
	ga_attrs_put(&attrs, GA_ATTR_FROM_ADDRESS, GA_STR("from@from.example"));
	ga_attrs_put(&attrs, GA_ATTR_CLIENT_ADDR, GA_STR("192.0.2.9"));
	ga_attrs_put(&attrs, GA_ATTR_ENVID, GA_STR("env,1"));
	ga_attrs_put(&to, GA_ATTR_RECIPIENT, ga_str_c(recipient));
	ga_attrs_put(&to, GA_ATTR_ORCPT, GA_STR("rfc822;x@y.example"));
	packed = (struct ga_str){ to.p, to.n };
	m = ga_message_new(7, 1726063520924, (struct ga_str){ attrs.p, attrs.n }, &packed, NULL, 1, body);
	ga_attrs_free(&attrs);
	ga_attrs_free(&to);
	return m;
}

static void
begin_with(const char *conf, const char *header, const char *recipient)
{
	memset(dirs, 0, sizeof dirs);
	bed_up(&(struct bed){ .conf = everywhere(conf), .modules = modules });
	message = new_message(header, recipient);
	ev = (struct ga_ev_attempt){ .envelope_id = GA_ENVELOPE_ID(message, &message->envelopes[0]),
		.domain = GA_STR("receiver.example"), .code = 250, .enhanced = GA_STR("2.0.0"),
		.text = GA_STR("250 2.0.0 Ok: queued"), .reply = GA_STR("250 2.0.0 Ok: queued"),
		.mx_hostname = GA_STR("mx.receiver.example"), .mx_ip = GA_STR("192.0.2.25"), .source_ip = GA_STR("192.0.2.1"),
		.virtual_mta = GA_STR("ip-1"), .group_key = GA_STR("ip2pd7"), .attempts = 1,
		.status = GA_STATUS_SUCCESS, .assigned_mta_id = 6, .mta_id = 2,
		.source_hostname = GA_STR("mail1.example.com"), .extensions = GA_STR("PIPELINING,SIZE") };
	for (unsigned i = 0; i < GA_PHASES; i++)
		ev.phase_ms[i] = i == GA_PHASE_TLS || i == GA_PHASE_AUTH ? GA_NO_TIME : i;
	ga_attempt_message(&ev, message, 0);
}

static void
begin(const char *conf)
{
	begin_with(conf, "Subject: Hello\r\n\r\n", "b@receiver.example");
}

static const char *
line_in(unsigned dir)
{
	struct ga_snapshot *s = ga_snapshot_current();
	struct ga_run run = { .worker = ga_worker_get(0), .message = message,
		.settings = ga_snapshot_resolve(s, GA_STR(""), GA_STR("receiver.example"), NULL, 0) };
	unsigned before = dirs[dir].lines;

	ga_run_hook(&run, GA_HOOK_attempt_done, &ev);
	ga_snapshot_unref(s);
	assert_int_equal(dirs[dir].lines, before + 1);
	return dirs[dir].line;
}

static int
down(void **state)
{
	(void)state;
	if (message != NULL)
		ga_message_unref(message);
	message = NULL;
	bed_down();
	return 0;
}

/* --- hvmail --- */

#define COLUMNS 25

/* Its columns, cut apart in place. */
static void
cut(const char *line, char *copy, char *columns[COLUMNS])
{
	size_t n = 0;

	strcpy(copy, line);
	columns[n++] = copy;
	for (char *tab = copy; (tab = strchr(tab, '\t')) != NULL; n++) {
		*tab++ = '\0';
		assert_true(n < COLUMNS);
		columns[n] = tab;
	}
	assert_int_equal(n, COLUMNS);
}

static void
assert_columns(const char *const expected[COLUMNS])
{
	static char copy[DL_LINE_MAX + 1];
	char *columns[COLUMNS];

	cut(line_in(ev.queue), copy, columns);
	for (size_t i = 0; i < COLUMNS; i++)
		if (expected[i] != NULL)
			assert_string_equal(columns[i], expected[i]);
}

static void
test_a_line_has_its_columns_in_their_order(void **state)
{
	(void)state;
	begin("delivery_log_headers Subject");
	assert_columns((const char *const[COLUMNS]){ NULL, "remote", "success", "0", "1726063520.92421863", "b@receiver.example",
	    "a@sender.example", "6", "spring-24", "l_7", "1726063520.924", "250 2.0.0 Ok: queued", "2", "192.0.2.1",
	    "mail1.example.com", "", "pd7", "c-1", "mx.receiver.example", "192.0.2.25", "from@from.example",
	    "{\"Subject\":[\"Hello\"]}", "24", "{\"connect\":0,\"greeting\":1,\"ehlo\":2,\"mail\":5,\"rcpt\":6,\"data\":7,\"message\":8,\"dot\":9}", "" });
}

static void
test_the_time_has_five_decimals(void **state)
{
	double seconds;
	const char *line;

	(void)state;
	begin("");
	line = line_in(0);
	seconds = strtod(line, NULL);
	assert_int_equal(strcspn(line, "\t"), 16);
	assert_int_equal(line[10], '.');
	assert_true(seconds * 1000 > (double)ga_wall_ms() - 60000 && seconds * 1000 < (double)ga_wall_ms() + 60000);
}

static void
test_each_status_has_its_word(void **state)
{
	static const char *const words[] = { "success", "deferral", "failure", "failure_toolong", "connmaxout" };

	(void)state;
	begin("");
	for (unsigned i = 0; i < 5; i++) {
		ev.status = (enum ga_attempt_status)i;
		assert_columns((const char *const[COLUMNS]){ [2] = words[i] });
	}
}

static void
test_the_directory_is_that_of_the_state(void **state)
{
	static const char *const names[] = { "delivery-ram", "delivery-bounce", "delivery-disk" };
	static const char *const limits[] = { "n123 s10485760", "n41 s10485760", "n246 s10485760" };

	(void)state;
	begin("");
	for (unsigned i = 0; i < 3; i++) {
		ev.queue = (enum ga_queue_state)i;
		line_in(i);
		assert_string_equal(dirs[i].name, names[i]);
		assert_string_equal(dirs[i].limits, limits[i]);
		assert_int_equal(dirs[i].flags, GA_LOG_UNSTAMPED);
		assert_string_equal(dirs[i].head, "");
	}
}

/* Its message could not be read, and nobody was asked. */
static void
know_nothing(void)
{
	ga_message_unref(message);
	message = NULL;
	ev = (struct ga_ev_attempt){ .status = GA_STATUS_FAILURE_TOOLONG, .attempts = 3, .queue = GA_QUEUE_DISK,
		.group_key = GA_STR("relay5") };
	for (unsigned i = 0; i < GA_PHASES; i++)
		ev.phase_ms[i] = GA_NO_TIME;
}

static void
test_what_is_not_known_is_empty(void **state)
{
	(void)state;
	begin("delivery_log_headers Subject");
	know_nothing();
	assert_columns((const char *const[COLUMNS]){ NULL, "remote", "failure_toolong", "1", "", "", "", "0", "", "", "", "", "0", "",
	    "", "", "", "", "", "", "", "", "", "", "" });
}

static void
test_mail_that_was_not_synced_is_marked(void **state)
{
	(void)state;
	begin("");
	ev.not_synced = true;
	assert_columns((const char *const[COLUMNS]){ [24] = "no" });
}

static void
test_no_text_breaks_a_line(void **state)
{
	(void)state;
	begin("");
	ev.recipient = GA_STR("a\tb\nc\r\nd\r\n e\x01\x7f\xff@x.example");
	assert_columns((const char *const[COLUMNS]){ [5] = "a b c d e???@x.example" });
	ev.recipient = GA_STR("\"b\xc3\xbc\"@x.example");
	assert_columns((const char *const[COLUMNS]){ [5] = "\"b\xc3\xbc\"@x.example" });
}

/* --- JSON --- */

static struct json_object *
parsed(const char *line)
{
	struct json_object *o = json_tokener_parse(line);

	if (o == NULL)
		fail_msg("no JSON: %s", line);
	return o;
}

static struct json_object *
member(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	if (!json_object_object_get_ex(o, name, &v))
		fail_msg("no %s", name);
	return v;
}

#define ODD "\"q\", b\\s \xc3\xbc, two\r\n\tlines\x1b"
#define ODD_READ "\"q\", b\\s \xc3\xbc, two lines?"

static void
test_json_reads_back_as_it_was(void **state)
{
	struct json_object *o, *v;

	(void)state;
	begin_with("delivery_log_format json\ndelivery_log_headers Subject, Reply-To", "Subject: =?x?=\r\nsubject: \"two\"\r\n lines\r\n\r\n",
	    "b@receiver.example");
	ev.text = GA_STR(ODD);
	o = parsed(line_in(0));
	assert_int_equal(json_object_object_length(o), COLUMNS);
	assert_string_equal(json_object_get_string(member(o, "message")), ODD_READ);
	assert_string_equal(json_object_get_string(member(o, "status")), "success");
	assert_string_equal(json_object_get_string(member(o, "sendid")), "spring-24");
	assert_int_equal(json_object_get_type(member(o, "timestamp")), json_type_double);
	assert_int_equal(json_object_get_int(member(o, "mtaid")), 6);
	assert_int_equal(json_object_get_type(member(o, "message_size")), json_type_int);
	assert_int_equal(json_object_get_int(member(member(o, "smtp_timing"), "dot")), GA_PHASE_DOT);
	v = member(member(o, "headers"), "Subject");
	assert_int_equal(json_object_array_length(v), 2);
	assert_string_equal(json_object_get_string(json_object_array_get_idx(v, 1)), "\"two\" lines");
	json_object_put(o);
}

static void
test_json_has_null_for_what_is_no_text(void **state)
{
	struct json_object *o;

	(void)state;
	begin("delivery_log_format json");
	know_nothing();
	o = parsed(line_in(GA_QUEUE_DISK));
	assert_null(member(o, "headers"));
	assert_null(member(o, "injected_time"));
	assert_null(member(o, "smtp_timing"));
	assert_string_equal(json_object_get_string(member(o, "sendsliceid")), "");
	json_object_put(o);
}

static void
test_kumo_reads_back_as_it_was(void **state)
{
	struct json_object *o, *response;

	(void)state;
	begin("delivery_log_format kumo");
	ev.status = GA_STATUS_FAILURE;
	ev.code = 550;
	ev.enhanced = GA_STR("5.1.10");
	ev.text = GA_STR("550 5.1.10 " ODD);
	o = parsed(line_in(0));
	assert_string_equal(json_object_get_string(member(o, "type")), "Bounce");
	response = member(o, "response");
	assert_int_equal(json_object_get_int(member(response, "code")), 550);
	assert_int_equal(json_object_get_int(member(member(response, "enhanced_code"), "detail")), 10);
	assert_string_equal(json_object_get_string(member(response, "content")), ODD_READ);
	assert_string_equal(json_object_get_string(member(o, "bounce_classification")), "bad-domain");
	assert_string_equal(json_object_get_string(member(member(o, "peer_address"), "addr")), "192.0.2.25");
	assert_int_equal(json_object_get_int(member(o, "num_attempts")), 0);
	assert_int_equal(strlen(json_object_get_string(member(o, "id"))), 16);
	json_object_put(o);
	ev.status = GA_STATUS_CONNMAXOUT;
	ev.code = 0;
	ev.enhanced = ev.mx_ip = GA_STR("");
	ev.text = GA_STR("Kept.");
	o = parsed(line_in(0));
	assert_string_equal(json_object_get_string(member(o, "type")), "Delayed");
	assert_null(member(o, "peer_address"));
	assert_string_equal(json_object_get_string(member(member(o, "response"), "content")), "Kept.");
	json_object_put(o);
}

static void
test_kumo_has_no_zeros_in_front_of_numbers(void **state)
{
	(void)state;
	begin("delivery_log_format kumo");
	ev.enhanced = GA_STR("5.01.010");
	assert_non_null(strstr(line_in(0), "{\"class\":5,\"subject\":1,\"detail\":10}"));
	ev.enhanced = GA_STR("4.0.000");
	assert_non_null(strstr(line_in(0), "{\"class\":4,\"subject\":0,\"detail\":0}"));
}

/* --- CSV --- */

#define FIELDS 22

static void
read_csv(const char *p, char fields[FIELDS][DL_LINE_MAX / 8])
{
	size_t f = 0, n = 0;
	bool quoted = false;

	for (; *p != '\0'; p++) {
		if (*p == '"' && quoted && p[1] == '"') {
			fields[f][n++] = *p++;
		} else if (*p == '"') {
			assert_true(quoted || n == 0);
			quoted = !quoted;
		} else if (*p == ',' && !quoted) {
			fields[f++][n] = '\0';
			assert_true(f < FIELDS);
			n = 0;
		} else {
			fields[f][n++] = *p;
		}
	}
	assert_false(quoted);
	fields[f][n] = '\0';
	assert_int_equal(f, FIELDS - 1);
}

static void
test_csv_reads_back_as_it_was(void **state)
{
	static char names[FIELDS][DL_LINE_MAX / 8], v[FIELDS][DL_LINE_MAX / 8];
	static const char *const expected[FIELDS] = { "b", NULL, NULL, "a@sender.example", "\"b,\"@receiver.example",
		"rfc822;x@y.example", "failed", "5.2.2", "smtp;" ODD_READ, "mx.receiver.example (192.0.2.25)", "quota-issues",
		"smtp", "(192.0.2.9)", "smtp", "192.0.2.1", "192.0.2.25", "PIPELINING,SIZE", "24", "ip-1", "Spring-24", "env,1", "" };

	(void)state;
	begin_with("delivery_log_format csv", "Subject: Hello\r\n\r\n", "\"b,\"@receiver.example");
	ev.status = GA_STATUS_FAILURE;
	ev.enhanced = GA_STR("5.2.2");
	ev.text = GA_STR(ODD);
	assert_string_equal(dirs[0].head, dl_csv_header);
	read_csv(dirs[2].head, names);
	read_csv(line_in(0), v);
	for (size_t i = 0; i < FIELDS; i++)
		if (expected[i] != NULL && strcmp(v[i], expected[i]) != 0)
			fail_msg("%s: \"%s\", not \"%s\"", names[i], v[i], expected[i]);
	assert_int_equal(strlen(v[2]), strlen("2024-09-11 14:05:20+0000"));
	assert_int_equal(v[2][10], ' ');
	ev.text = ev.reply = GA_STR("");
	ev.status = GA_STATUS_CONNMAXOUT;
	read_csv(line_in(0), v);
	assert_string_equal(v[0], "tq");
	assert_string_equal(v[8], "");
}

/* --- too much of it --- */

static void
test_a_line_has_room_for_the_longest_texts_in_every_format(void **state)
{
	static const char *const formats[] = { "hvmail", "json", "csv", "kumo" };
	static char text[8000], header[20000];
	size_t n = 0;

	(void)state;
	memset(text, '"', sizeof text);
	for (int i = 0; i < 30; i++)
		n += (size_t)snprintf(header + n, sizeof header - n, "X-%d: %.600s\r\n", i % 6, text);
	snprintf(header + n, sizeof header - n, "\r\n");
	for (size_t i = 0; i < 4; i++) {
		char conf[200];
		struct ga_str long_text = { text, sizeof text };
		const char *line;

		snprintf(conf, sizeof conf, "delivery_log_format %s\ndelivery_log_headers X-0, X-1, X-2, X-3, X-4, X-5", formats[i]);
		begin_with(conf, header, "b@receiver.example");
		ev.text = ev.reply = ev.sender = ev.recipient = ev.send_id = ev.list_id = ev.click_tracking_id = ev.mx_hostname =
		    ev.from_address = ev.source_hostname = ev.msguid = ev.virtual_mta = ev.extensions = long_text;
		line = line_in(0);
		assert_true(strlen(line) < DL_LINE_MAX);
		if (line[0] == '{')
			json_object_put(parsed(line));
		if (i == 1)
			assert_non_null(strstr(line, "\"queue_fsync\":\"\"}"));
		if (i < 3)
			down(NULL);
	}
}

static void
test_a_text_is_not_cut_within_a_character(void **state)
{
	char in[10] = "abc\xc3\xbcz", out[40];
	struct dl_line l = { out, 0, sizeof out };

	(void)state;
	dl_text(&l, (struct ga_str){ in, 6 }, 4, DL_PLAIN);
	assert_int_equal(l.n, 3);
	dl_text(&l, (struct ga_str){ in, 6 }, 5, DL_PLAIN);
	assert_int_equal(l.n, 8);
}

static void
test_what_has_no_room_is_left_out_whole(void **state)
{
	char out[10];
	struct dl_line l = { out, 0, sizeof out };

	(void)state;
	dl_text(&l, GA_STR("abcde"), 99, DL_JSON_STRING);
	assert_int_equal(l.n, 2);
	assert_memory_equal(out, "\"\"", 2);
	dl_raw(&l, GA_STR("123456789"));
	assert_int_equal(l.n, 2);
}

int
main(void)
{
#define T(name) cmocka_unit_test_teardown(name, down)
	const struct CMUnitTest tests[] = {
		T(test_a_line_has_its_columns_in_their_order),
		T(test_the_time_has_five_decimals),
		T(test_each_status_has_its_word),
		T(test_the_directory_is_that_of_the_state),
		T(test_what_is_not_known_is_empty),
		T(test_mail_that_was_not_synced_is_marked),
		T(test_no_text_breaks_a_line),
		T(test_json_reads_back_as_it_was),
		T(test_json_has_null_for_what_is_no_text),
		T(test_kumo_reads_back_as_it_was),
		T(test_kumo_has_no_zeros_in_front_of_numbers),
		T(test_csv_reads_back_as_it_was),
		T(test_a_line_has_room_for_the_longest_texts_in_every_format),
		cmocka_unit_test(test_a_text_is_not_cut_within_a_character),
		cmocka_unit_test(test_what_has_no_room_is_left_out_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
