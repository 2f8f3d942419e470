/*
 * queue.h - service "queue": what waits, for reports and control.  Level strict.
 */
#ifndef GREENARROW_SERVICE_QUEUE_H
#define GREENARROW_SERVICE_QUEUE_H

#include <greenarrow/loop.h>
#include <greenarrow/message.h>

GA_BEGIN

#define GA_QUEUE_SERVICE "queue"
#define GA_QUEUE_VERSION 1

struct ga_queue_stats {
	uint64_t messages, envelopes;		/* live */
	uint64_t ram, bounce, disk;		/* envelopes by state */
	uint64_t failed;			/* kept, marked, until a bounce is made */
	uint64_t waiting, in_flight, paused;	/* by what they do now */
	uint64_t accepted_total, success_total, deferral_total, failure_total, toolong_total;
	uint64_t memory;			/* octets of tables */
};

struct ga_queue {
	uint32_t size, version;
	/* A committed message becomes the queue's; on its home loop.  message keeps
	 * the caller's reference; the queue takes one of its own while it needs it. */
	void (*add)(struct ga_worker *, struct ga_message *, bool hold);
	void (*stats)(struct ga_queue_stats *);		/* any thread, slightly stale */
};

GA_END

#endif
