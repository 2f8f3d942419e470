/*
 * spool.h - service "spool": messages on stable storage.  Level strict.
 *
 * Who calls: the queue (and through it everybody).  All functions are called on
 * a loop; every request ends in exactly one callback on the loop that made it
 * (posted, never inside the call).  Requests are embedded in the caller's
 * objects and belong to the spool until their callback.
 *
 * What is promised (DESIGN 4.1): when commit's callback says 0, message and
 * envelopes survive a crash and a power cut; when done's callback says 0, that
 * envelope never comes back.  Errors: 0, or a positive errno; ENOSPC and EDQUOT
 * mean "452 4.3.1", anything else "451 4.3.0".  An error is final for that request.
 */
#ifndef GREENARROW_SERVICE_SPOOL_H
#define GREENARROW_SERVICE_SPOOL_H

#include <greenarrow/loop.h>
#include <greenarrow/message.h>

GA_BEGIN

#define GA_SPOOL_SERVICE "spool"
#define GA_SPOOL_VERSION 1

/* The spool's own part of a request; first in each, never touched by the caller. */
struct ga_spool_link {
	struct ga_post post;
	struct ga_worker *home;		/* where the callback runs */
	uint32_t kind;
};

/* A finished envelope. */
struct ga_spool_end {
	uint64_t seq;			/* of its message */
	uint32_t envelope;		/* index in the message */
	uint32_t result;		/* enum ga_result of delivery.h, for the record */
};

/* Large bodies: opened, appended to piece by piece while they arrive. */
struct ga_spool_upload;
struct ga_spool_piece {
	struct ga_spool_link link;
	struct ga_spool_upload *upload;
	struct ga_body *body;		/* its octets are appended; ref given to the spool */
	int error;			/* result */
	void (*cb)(struct ga_worker *, struct ga_spool_piece *);
	void *arg;
};

struct ga_spool_commit {
	struct ga_spool_link link;
	struct ga_message *message;	/* borrowed ref until cb; seq is set in it */
	struct ga_spool_upload *upload;	/* or NULL: message->body has all octets */
	const struct ga_spool_end *ends;	/* finished in the same atomic group, */
	uint32_t nends;				/* e.g. the failure a bounce reports */
	int error;			/* result */
	void (*cb)(struct ga_worker *, struct ga_spool_commit *);
	void *arg;
};

/* A new state of one envelope. cb may be NULL: then no callback and the spool
 * copies what it needs before update() returns.  error ENOENT: no such message,
 * all its envelopes are done. */
struct ga_spool_update {
	struct ga_spool_link link;
	uint64_t seq;
	uint32_t envelope;
	uint32_t attempts;
	uint32_t flags;			/* enum ga_env_flag */
	uint64_t next_ms;		/* wall clock */
	struct ga_str attrs;		/* GA_ATTR_LAST_REPLY, ...: read back over the
					   attributes the envelope was accepted with; takes
					   the place of the update before it, attributes
					   and all.  At most 64 KiB; may be empty */
	int error;
	void (*cb)(struct ga_worker *, struct ga_spool_update *);
	void *arg;
};

/* cb may be NULL as above. */
struct ga_spool_done {
	struct ga_spool_link link;
	struct ga_spool_end end;
	int error;
	void (*cb)(struct ga_worker *, struct ga_spool_done *);
	void *arg;
};

/* Read a message back: attributes, envelopes with their latest state, and the
 * body when it is at most body_limit octets (else message->body is NULL).
 * error ENOENT: no such message (all its envelopes are done); EIO/EBADMSG: damaged.  With
 * body_limit 0 damage in the body does not matter. */
struct ga_spool_read {
	struct ga_spool_link link;
	uint64_t seq;
	uint64_t body_limit;
	struct ga_message *message;	/* result: one reference for the caller */
	int error;
	void (*cb)(struct ga_worker *, struct ga_spool_read *);
	void *arg;
};

/* Read octets [offset, offset+len) of a body into a new ga_body. */
struct ga_spool_read_body {
	struct ga_spool_link link;
	uint64_t seq;
	uint64_t offset;
	size_t len;			/* at most 1 MiB a request */
	struct ga_body *piece;		/* result; short only at the end */
	int error;
	void (*cb)(struct ga_worker *, struct ga_spool_read_body *);
	void *arg;
};

/*
 * Recovery.  Called once by the queue, on every loop, from its start(): the spool
 * calls found() on that loop for every live message whose home it is (id mod
 * count), in order of acceptance, in slices that do not stall the loop, then
 * end().  The message has no body and is borrowed for the call.  New commits are
 * accepted meanwhile.
 */
struct ga_spool_recovery {
	void (*found)(struct ga_worker *, const struct ga_message *, void *arg);
	void (*end)(struct ga_worker *, void *arg);
	/* what put_state() kept, before the first found(); may be NULL */
	void (*state)(struct ga_worker *, struct ga_str key, struct ga_str value, void *arg);
	void *arg;
};

struct ga_spool_stats {
	uint64_t messages, envelopes;		/* live */
	uint64_t segments, bytes, live_bytes;
	uint64_t commits, updates, dones;	/* records since start */
	uint64_t batches, syncs;		/* fdatasync calls */
	uint64_t sync_us_total, sync_us_max;
	uint64_t compacted, quarantined, failed_syncs;
	bool full;				/* no room for new mail now */
	uint64_t free_bytes;			/* of the file system */
};

struct ga_spool {
	uint32_t size, version;

	void (*commit)(struct ga_worker *, struct ga_spool_commit *);
	void (*update)(struct ga_worker *, struct ga_spool_update *);
	void (*done)(struct ga_worker *, struct ga_spool_done *);
	void (*read)(struct ga_worker *, struct ga_spool_read *);
	void (*read_body)(struct ga_worker *, struct ga_spool_read_body *);

	/* never NULL; commit takes it over, abort frees it (also while pieces run) */
	struct ga_spool_upload *(*upload_begin)(struct ga_worker *);
	void (*upload_piece)(struct ga_worker *, struct ga_spool_piece *);
	void (*upload_abort)(struct ga_worker *, struct ga_spool_upload *);

	/* Kept until replaced (empty value: forgotten), over restarts; not waited for. */
	void (*put_state)(struct ga_worker *, struct ga_str key, struct ga_str value);

	void (*recover)(struct ga_worker *, const struct ga_spool_recovery *);
	/* Any loop.  0, or ENOSPC when a message of that many octets has no room:
	 * the check at MAIL (RFC 1870). */
	int (*room)(uint64_t octets);
	void (*stats)(struct ga_spool_stats *);		/* any thread */
};

GA_END

#endif
