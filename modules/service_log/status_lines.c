/*
 * status_lines.c - every few seconds, in rspawn-limiter: how delivery goes.
 *
 *	remote_limiter: active=14 backlog(ram=16 bounce=0 disk=21)
 *	remote_limiter: request processor: total=14 concurrency=9/10000 throttle=3 tcpconn=2 … cachedconn=5
 *	remote_limiter: request processor: 158 sent; sending 0.11 MM; success 92.41%; deferral 3.16%; failure 4.43%
 *	remote_limiter: dns cache: num_lookups=120 num_resolves=7 avg_resolve_query_time_ms=12
 *
 * The words are those that GreenArrow's own lines have.  Each number is one that `greenarrow
 * status` shows, gathered by the main loop; what is not known here, for its module is not loaded
 * or nothing counts it, is left out.
 */
#include "service_log.h"

#include <inttypes.h>
#include <stdio.h>

#include <json-c/json_pointer.h>

#include <greenarrow/loop.h>
#include <greenarrow/service/control.h>

#define DIRECTORY "rspawn-limiter"

static struct {
	struct ga_timer *timer;
	struct ga_log_dir *dir;
	uint64_t at_us;			/* when the lines before were written, or the start */
	struct totals {
		int64_t success, deferral, failure;	/* results of attempts */
		int64_t questions, resolved, resolve_ms;
	} then;
} last;

/* path: "/queue/ram".  False: that is not known here. */
static bool
number(struct json_object *status, const char *path, int64_t *n)
{
	struct json_object *v;

	if (json_pointer_get(status, path, &v) != 0)
		return false;
	*n = json_object_get_int64(v);
	return true;
}

static int64_t
number_or_0(struct json_object *status, const char *path)
{
	int64_t n;

	return number(status, path, &n) ? n : 0;
}

/* "word=1", or "word=1/100" with a limit. */
struct field { const char *word, *path, *limit; };

/* Those that are known, with blanks between; "" when none is. */
static const char *
fields(struct json_object *status, const struct field *f, size_t n, char *buf, size_t room)
{
	size_t k = 0;
	int64_t v;

	buf[0] = '\0';
	for (size_t i = 0; i < n && k < room; i++) {
		if (!number(status, f[i].path, &v))
			continue;
		k += (size_t)snprintf(buf + k, room - k, "%s%s=%" PRId64, k > 0 ? " " : "", f[i].word, v);
		if (k < room && f[i].limit != NULL && number(status, f[i].limit, &v))
			k += (size_t)snprintf(buf + k, room - k, "/%" PRId64, v);
	}
	return buf;
}
#define FIELDS(status, f, buf) fields(status, f, sizeof (f) / sizeof (f)[0], buf, sizeof (buf))

static void
say(const char *text)
{
	const struct ga_str parts[2] = { GA_STR("remote_limiter: "), ga_str_c(text) };

	slog_dir_write(last.dir, parts, 2);
}

static void
say_backlog(struct json_object *status)
{
	static const struct field backlog[] = { { "ram", "/queue/ram", NULL }, { "bounce", "/queue/bounce", NULL },
		{ "disk", "/queue/disk", NULL } };
	char text[300], buf[200];

	snprintf(text, sizeof text, "active=%" PRId64 " backlog(%s)", number_or_0(status, "/queue/in_flight"),
	    FIELDS(status, backlog, buf));
	say(text);
}

static void
say_requests(struct json_object *status)
{
	static const struct field requests[] = {
		{ "total", "/queue/in_flight", NULL },
		{ "concurrency", "/throttle/connections", "/throttle/max_connections" },
		{ "throttle", "/throttle/waiting", NULL },
		{ "tcpconn", "/smtp_client/phases/connecting", NULL },
		{ "smtpconn", "/smtp_client/phases/greeting", NULL },
		{ "hello", "/smtp_client/phases/hello", NULL },
		{ "tls", "/smtp_client/phases/tls", NULL },
		{ "auth", "/smtp_client/phases/auth", NULL },
		{ "from", "/smtp_client/phases/mail", NULL },
		{ "rcpt", "/smtp_client/phases/rcpt", NULL },
		{ "data", "/smtp_client/phases/data", NULL },
		{ "read", "/smtp_client/phases/reading", NULL },
		{ "write", "/smtp_client/phases/message", NULL },
		{ "quit", "/smtp_client/phases/quit", NULL },
		{ "cachedconn", "/smtp_client/phases/saved", NULL },
	};
	char text[400], buf[300];

	snprintf(text, sizeof text, "request processor: %s", FIELDS(status, requests, buf));
	say(text);
}

static double
share(int64_t part, int64_t all)
{
	return all > 0 ? 100.0 * (double)part / (double)all : 0;
}

/* What has ended since the lines before, and what that is in millions an hour. */
static void
say_sent(const struct totals *now, double seconds)
{
	int64_t success = now->success - last.then.success, deferral = now->deferral - last.then.deferral,
	    failure = now->failure - last.then.failure, sent = success + deferral + failure;
	char text[200];

	snprintf(text, sizeof text, "request processor: %" PRId64 " sent; sending %.2f MM; success %.2f%%; deferral %.2f%%; failure %.2f%%",
	    sent, (double)sent / seconds * 3600 / 1e6, share(success, sent), share(deferral, sent), share(failure, sent));
	say(text);
}

static void
say_dns(const struct totals *now)
{
	int64_t resolved = now->resolved - last.then.resolved;
	char text[200];

	snprintf(text, sizeof text, "dns cache: num_lookups=%" PRId64 " num_resolves=%" PRId64 " avg_resolve_query_time_ms=%" PRId64,
	    now->questions - last.then.questions, resolved, resolved > 0 ? (now->resolve_ms - last.then.resolve_ms) / resolved : 0);
	say(text);
}

static struct totals
totals(struct json_object *status)
{
	return (struct totals){
		.success = number_or_0(status, "/queue/success_total"),
		.deferral = number_or_0(status, "/queue/deferral_total"),
		.failure = number_or_0(status, "/queue/failure_total") + number_or_0(status, "/queue/toolong_total"),
		.questions = number_or_0(status, "/dns/questions_total"),
		.resolved = number_or_0(status, "/dns/resolved_total"),
		.resolve_ms = number_or_0(status, "/dns/resolve_ms_total"),
	};
}

static void
tell(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct json_object *status = ga_status_parts();
	struct totals now = totals(status);
	uint64_t us = ga_mono_us();

	(void)inst;
	(void)w;
	(void)arg;
	if (json_object_object_get_ex(status, "queue", NULL)) {
		say_backlog(status);
		say_requests(status);
		say_sent(&now, (double)(us - last.at_us + 1) / 1e6);
	}
	say_dns(&now);
	last.at_us = us;
	last.then = now;
	json_object_put(status);
}

void
slog_status_init(struct ga_inst *inst)
{
	struct json_object *status = ga_status_parts();

	last.dir = slog_dir_open(GA_STR(DIRECTORY), 0, NULL);
	last.timer = ga_timer_new(inst, ga_worker_main(), tell, NULL);
	last.at_us = ga_mono_us();
	last.then = totals(status);	/* no zeros where the module comes with a reload */
	json_object_put(status);
}

void
slog_status_every(uint64_t ms)
{
	if (ms > 0)
		ga_timer_arm(last.timer, ms, ms);
	else
		ga_timer_stop(last.timer);
}
