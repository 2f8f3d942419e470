/*
 * queue.h - service "queue": what waits, for reports and control.  Level strict.
 */
#ifndef GREENARROW_SERVICE_QUEUE_H
#define GREENARROW_SERVICE_QUEUE_H

#include <greenarrow/loop.h>
#include <greenarrow/message.h>
#include <greenarrow/service/explain.h>

GA_BEGIN

#define GA_QUEUE_SERVICE "queue"
#define GA_QUEUE_VERSION 2

struct ga_queue_stats {
	uint64_t messages, envelopes;		/* live */
	uint64_t ram, bounce, disk;		/* envelopes by state */
	uint64_t failed;			/* kept, marked, until a bounce is made */
	uint64_t waiting, in_flight, paused;	/* by what they do now */
	uint64_t accepted_total, success_total, deferral_total, failure_total, toolong_total;
	uint64_t memory;			/* octets of tables */
	uint64_t discarded_total;		/* ended unsent and unreported: delivery_override, dump */
};

/*
 * Pauses.  SENDER: from a sender's domain to recipient domains; an attempt that it meets is
 * deferred.  The others hold: no attempts, no deferrals, the lifetime goes on; DUMP ends its
 * mail at the next attempt, unsent and unreported.  VIRTUAL_MTA, SEND and DUMP are kept
 * over a restart, SENDER is too, until it ends.
 */
enum ga_pause_kind { GA_PAUSE_SENDER, GA_PAUSE_VIRTUAL_MTA, GA_PAUSE_SEND, GA_PAUSE_DUMP };
struct ga_pause {
	enum ga_pause_kind kind;
	struct ga_str name;		/* sender's domain (lower case), VirtualMTA, SendID */
	bool from_header;		/* SENDER: the domain is that of the From field, not of MAIL */
	struct ga_str domain;		/* SENDER: recipient domain; "" where scope says it */
	struct ga_str scope;		/* SENDER: rule of the throttle group without the
					   VirtualMTA, "pd7" "tt456"; "": none */
	double percent;			/* SENDER: share of the attempts that are held back */
	uint64_t until_ms;		/* wall clock; 0: until resumed */
	struct ga_str reason;		/* one line: the reply, or what was said */
	struct ga_str who;		/* "": a module, by what a host said */
};

/* A question of `greenarrow explain`; the asker's until cb. */
struct ga_queue_question {
	struct ga_post post;			/* private to the queue */
	struct ga_worker *asker;
	uint64_t envelope_id;			/* 0: by domain or address */
	struct ga_str domain, address;		/* address "": any of the domain */
	struct json_object *facts;		/* of the envelope, or of the one due first */
	/* results */
	uint64_t found;				/* envelopes that it is about */
	uint64_t waiting, in_flight, held;	/* of these */
	char virtual_mta[208];			/* of the one that the facts are about */
	uint64_t of_envelope, message_key, address_key;
	char of_domain[256];
	void (*cb)(struct ga_worker *asker, struct ga_queue_question *);
	void *arg;
	void *private_;
};

struct ga_queue {
	uint32_t size, version;
	/* A committed message becomes the queue's; on its home loop.  message keeps
	 * the caller's reference; the queue takes one of its own while it needs it. */
	void (*add)(struct ga_worker *, struct ga_message *, bool hold);
	void (*stats)(struct ga_queue_stats *);		/* any thread, slightly stale */
	/* From here on: version 2. */
	/* All strings are copied.  Any loop; acts on waiting mail of all loops. */
	void (*pause)(struct ga_worker *, const struct ga_pause *);
	/* Any loop. */
	void (*explain)(struct ga_queue_question *);
};

GA_END

#endif
