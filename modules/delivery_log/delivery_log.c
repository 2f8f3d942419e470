/*
 * delivery_log.c - the module: one line for each attempt, in log/delivery-{ram,bounce,disk}.
 *
 * Told of each attempt and of each end of an envelope by the hook attempt_done, on whatever loop
 * that is on; puts the line together in the loop's buffer and hands it to the service log_sink,
 * which copies it.  The directory is that of the state in which the attempt was made.
 *
 * Owns, on each loop of an instance: the buffers.  A reload makes a new instance, attempts that
 * are under way end with the one they began with; all write into the same directories.
 */
#include "delivery_log.h"

#include <time.h>

#include <greenarrow/service/log_sink.h>

#define GA_CF_SELF_ struct delivery_log_conf
GA_CONF_SCHEMA(delivery_log_conf, DELIVERY_LOG_DIRECTIVES);

/* In the order of oneof= of delivery_log_format. */
static const struct format {
	void (*put)(struct dl_line *, const struct dl_attempt *);
	const char *header;		/* first line of each file; NULL: none */
} formats[] = {
	{ dl_hvmail, NULL },
	{ dl_json, NULL },
	{ dl_csv, dl_csv_header },
	{ dl_kumo, NULL },
};

/* By enum ga_queue_state; sizes as qmail's queues have them (queue.*.logconfig). */
static const struct { const char *name, *limits; } directories[] = {
	[GA_QUEUE_RAM] = { "delivery-ram", "n123 s10485760" },
	[GA_QUEUE_BOUNCE] = { "delivery-bounce", "n41 s10485760" },
	[GA_QUEUE_DISK] = { "delivery-disk", "n246 s10485760" },
};
#define DIRECTORIES (sizeof directories / sizeof directories[0])

static _Atomic unsigned format_now;	/* of the newest instance */

struct worker {
	const struct ga_log_sink *sink;
	struct ga_log_dir *dirs[DIRECTORIES];
	char line[DL_LINE_MAX], headers[DL_HEADERS_MAX];
};

static uint64_t
wall_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static const struct ga_envelope *
envelope_of(const struct ga_message *m, uint64_t envelope_id)
{
	for (uint32_t i = 0; m != NULL && i < m->nenvelopes; i++)
		if (m->envelopes[i].random == (uint32_t)envelope_id)
			return &m->envelopes[i];
	return NULL;
}

static struct ga_str
headers_of(struct worker *l, const struct ga_message *m, struct ga_strlist names)
{
	struct dl_line line = { l->headers, 0, sizeof l->headers };

	if (m != NULL && names.n > 0)
		dl_headers(&line, m, names);
	return (struct ga_str){ line.p, line.n };
}

static void
on_attempt_done(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	struct worker *l = ga_worker_state(ga_call_inst(call), ga_call_worker(call));
	const struct delivery_log_conf *conf = ga_call_conf(call);
	const struct ga_message *m = ga_call_message(call);
	struct dl_line line = { l->line, 0, sizeof l->line };
	struct dl_attempt a = { .ev = ev, .m = m, .e = envelope_of(m, ev->envelope_id), .now_us = wall_us(),
		.headers = headers_of(l, m, conf->delivery_log_headers) };
	struct ga_str text;

	formats[conf->delivery_log_format].put(&line, &a);
	text = (struct ga_str){ line.p, line.n };
	l->sink->write(l->dirs[ev->queue], &text, 1);
}

static bool
delivery_log_init(struct ga_inst *inst, const void *conf)
{
	const struct delivery_log_conf *c = conf;

	(void)inst;
	format_now = c->delivery_log_format;
	return true;
}

static bool
open_all(struct ga_inst *inst, struct worker *l)
{
	const char *header = formats[format_now].header;

	for (size_t i = 0; i < DIRECTORIES; i++) {
		l->dirs[i] = l->sink->open(ga_str_c(directories[i].name), GA_LOG_UNSTAMPED, directories[i].limits);
		if (l->dirs[i] == NULL) {
			ga_log(inst, GA_ERR, "GA-DLV-0002", "no log directory \"%s\"", directories[i].name);
			return false;
		}
		l->sink->begin_with(l->dirs[i], ga_str_c(header != NULL ? header : ""));
	}
	return true;
}

static bool
delivery_log_start(struct ga_inst *inst, struct ga_worker *w)
{
	struct worker *l = ga_worker_state(inst, w);

	l->sink = ga_service_get(GA_LOG_SINK_SERVICE, GA_LOG_SINK_VERSION);
	if (l->sink == NULL) {
		ga_log(inst, GA_ERR, "GA-DLV-0001", "no module provides service \"%s\": is service_log loaded?",
		    GA_LOG_SINK_SERVICE);
		return false;
	}
	return open_all(inst, l);
}

#define DELIVERY_LOG_HOOKS(X) X(attempt_done, on_attempt_done)

GA_MODULE(delivery_log, "1.0.0", "ip_address relay_server domain", DELIVERY_LOG_HOOKS, DELIVERY_LOG_DIRECTIVES,
    .summary = "one line for each delivery attempt",
    .conf = &delivery_log_conf_schema,
    .worker_size = sizeof(struct worker),
    .init = delivery_log_init,
    .start = delivery_log_start);
