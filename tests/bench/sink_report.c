/*
 * sink_report.c - the figures of ga_smtp_sink, as text or as one JSON document.
 *
 * Called by sink.c at the end and on SIGUSR1.  Times are microseconds of the
 * monotonic clock, so that they can be compared with those of ga_smtp_source on
 * the same machine.
 */
#include "sink.h"

#include <inttypes.h>

static double
seconds_busy(const struct sink_counts *n)
{
	return n->last_us > n->first_us ? (double)(n->last_us - n->first_us) / 1e6 : 0;
}

static double
rate(const struct sink_counts *n)
{
	double busy = seconds_busy(n);

	return busy > 0 ? (double)n->messages / busy : 0;
}

static void
add(json_object *to, const char *name, uint64_t value)
{
	json_object_object_add(to, name, json_object_new_int64((int64_t)value));
}

static json_object *
listeners_json(struct sink *k)
{
	json_object *all = json_object_new_object();

	for (size_t i = 0; i < k->listeners; i++) {
		json_object *one = json_object_new_object();

		add(one, "connections", k->listener[i].connections);
		add(one, "messages", k->listener[i].messages);
		json_object_object_add(all, k->listener[i].name, one);
	}
	return all;
}

static json_object *
clients_json(struct sink *k)
{
	json_object *all = json_object_new_object();

	for (struct sink_client *c = k->clients; c; c = c->hh.next) {
		json_object *one = json_object_new_object();

		add(one, "connections", c->connections);
		add(one, "open", c->open);
		add(one, "peak_open", c->peak);
		add(one, "messages", c->messages);
		json_object_object_add(all, c->name, one);
	}
	return all;
}

static json_object *
per_second_json(struct sink *k)
{
	json_object *all = json_object_new_array();
	size_t last = k->n.last_us ? (size_t)((k->n.last_us - k->n.start_us) / 1000000) : 0;

	for (size_t i = 0; i < k->seconds && i <= last; i++)
		json_object_array_add(all, json_object_new_int64(k->second[i]));
	return all;
}

static void
report_json(struct sink *k, FILE *f)
{
	const struct sink_counts *n = &k->n;
	json_object *o = json_object_new_object();

	add(o, "messages", n->messages);
	add(o, "recipients", n->recipients);
	add(o, "bytes", n->bytes);
	json_object_object_add(o, "rate", json_object_new_double(rate(n)));
	add(o, "first_us", n->first_us);
	add(o, "last_us", n->last_us);
	add(o, "connections", n->connections);
	add(o, "open", n->open);
	add(o, "peak_open", n->peak);
	add(o, "refused_connections", n->refused);
	add(o, "tls_sessions", n->tls);
	add(o, "most_messages_a_connection", n->most_a_connection);
	add(o, "deferred", n->deferred);
	add(o, "failed", n->failed);
	add(o, "oversized", n->oversized);
	add(o, "aborted", n->aborted);
	add(o, "bad_commands", n->bad_commands);
	json_object_object_add(o, "listeners", listeners_json(k));
	json_object_object_add(o, "clients", clients_json(k));
	json_object_object_add(o, "per_second", per_second_json(k));
	fprintf(f, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
		JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

static void
report_text(struct sink *k, FILE *f)
{
	const struct sink_counts *n = &k->n;

	fprintf(f, "accepted      %" PRIu64 " messages, %" PRIu64 " recipients, %" PRIu64 " bytes\n",
		n->messages, n->recipients, n->bytes);
	fprintf(f, "rate          %.0f messages/s over %.2f s\n", rate(n), seconds_busy(n));
	fprintf(f, "connections   %" PRIu64 ", most at once %" PRIu64 ", refused %" PRIu64
		", with TLS %" PRIu64 "\n", n->connections, n->peak, n->refused, n->tls);
	fprintf(f, "at most       %" PRIu64 " messages over one connection\n", n->most_a_connection);
	fprintf(f, "refused       %" PRIu64 " deferred, %" PRIu64 " failed, %" PRIu64
		" too big\n", n->deferred, n->failed, n->oversized);
	fprintf(f, "broken        %" PRIu64 " transactions cut off, %" PRIu64 " unknown commands\n",
		n->aborted, n->bad_commands);
}

void
sink_report(struct sink *k, FILE *f)
{
	if (k->opt.json)
		report_json(k, f);
	else
		report_text(k, f);
	fflush(f);
}
