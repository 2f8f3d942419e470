/*
 * report.c - the queue in numbers: for `greenarrow status` and the service.
 *
 * Each loop writes its own counts; they are added up when somebody asks.  Rates
 * come from totals noted once a second on the main loop, over the last ten.
 */
#include <stdio.h>
#include <string.h>

#include <greenarrow/json.h>
#include <greenarrow/service/control.h>

#include "queue.h"

#define SECONDS 10

struct totals {
	uint64_t accepted, success, deferral, failure;
};
static struct totals ring[SECONDS + 1];
static unsigned ring_at, ring_n;

#define SUM(field) do {									\
	s->field = 0;									\
	for (unsigned i = 0; i < ga_worker_count(); i++)				\
		s->field += atomic_load_explicit(					\
		    &q_loop(ga_worker_get(i))->counts.field, memory_order_relaxed);	\
} while (0)

void
q_stats(struct ga_queue_stats *s)
{
	memset(s, 0, sizeof *s);
	SUM(messages);
	SUM(envelopes);
	SUM(ram);
	SUM(bounce);
	SUM(disk);
	SUM(failed);
	SUM(waiting);
	SUM(paused);
	SUM(accepted_total);
	SUM(success_total);
	SUM(deferral_total);
	SUM(failure_total);
	SUM(toolong_total);
	SUM(discarded_total);
	for (unsigned i = 0; i < ga_worker_count(); i++)
		s->in_flight += atomic_load_explicit(&q_loop(ga_worker_get(i))->counts.out,
		    memory_order_relaxed);
	s->memory = s->messages * sizeof(struct q_message) +
	    s->envelopes * (sizeof(struct q_envelope) + sizeof(uint32_t));
}

static void
note(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct ga_queue_stats s;

	(void)inst;
	(void)w;
	(void)arg;
	q_stats(&s);
	ring_at = (ring_at + 1) % (SECONDS + 1);
	ring[ring_at] = (struct totals){ s.accepted_total, s.success_total, s.deferral_total,
		s.failure_total + s.toolong_total };
	if (ring_n < SECONDS)
		ring_n++;
}

static void
add_rate(struct json_object *o, const char *key, uint64_t now, uint64_t then)
{
	json_object_object_add(o, key, json_object_new_double(ring_n > 0 ?
	    (double)(now - then) / ring_n : 0));
}

static void
add_status(struct ga_inst *inst, struct json_object *status)
{
	struct json_object *q = json_object_new_object(), *r = json_object_new_object();
	const struct totals *now = &ring[ring_at];
	const struct totals *then = &ring[(ring_at + SECONDS + 1 - ring_n) % (SECONDS + 1)];
	struct ga_queue_stats s;

	(void)inst;
	q_stats(&s);
	ga_json_put_int(q, "messages", s.messages);
	ga_json_put_int(q, "envelopes", s.envelopes);
	ga_json_put_int(q, "ram", s.ram);
	ga_json_put_int(q, "bounce", s.bounce);
	ga_json_put_int(q, "disk", s.disk);
	ga_json_put_int(q, "failed", s.failed);
	ga_json_put_int(q, "waiting", s.waiting);
	ga_json_put_int(q, "in_flight", s.in_flight);
	ga_json_put_int(q, "paused", s.paused);
	ga_json_put_int(q, "accepted_total", s.accepted_total);
	ga_json_put_int(q, "success_total", s.success_total);
	ga_json_put_int(q, "deferral_total", s.deferral_total);
	ga_json_put_int(q, "failure_total", s.failure_total);
	ga_json_put_int(q, "toolong_total", s.toolong_total);
	ga_json_put_int(q, "discarded_total", s.discarded_total);
	ga_json_put_int(q, "pauses", q_pauses());
	ga_json_put_int(q, "memory", s.memory);
	json_object_object_add(status, "queue", q);
	add_rate(r, "accepted", now->accepted, then->accepted);
	add_rate(r, "success", now->success, then->success);
	add_rate(r, "deferral", now->deferral, then->deferral);
	add_rate(r, "failure", now->failure, then->failure);
	json_object_object_add(status, "rates", r);
	if (s.paused > 0) {
		struct json_object *list = json_object_new_array(), *o = json_object_new_object();
		char text[64];

		snprintf(text, sizeof text, "%llu envelopes", (unsigned long long)s.paused);
		json_object_object_add(o, "what", json_object_new_string(text));
		json_object_object_add(o, "why", json_object_new_string("a pause, delivery_paused, or held by a module"));
		json_object_array_add(list, o);
		json_object_object_add(status, "paused", list);
	}
}

void
q_report_init(struct ga_inst *inst)
{
	ga_timer_arm(ga_timer_new(inst, ga_worker_main(), note, NULL), 1000, 1000);
	ga_status_register(inst, add_status);
}
