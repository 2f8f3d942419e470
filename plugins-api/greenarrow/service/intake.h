/*
 * intake.h - service "intake": the one way in.  Level strict.
 *
 * How SMTP, sendmail, bounces and drain hand in mail.  The caller fills a
 * struct ga_txn (run.h) and submits it; intake draws the message-id, adds the
 * attributes that every message has, runs queue_commit, commits to the spool,
 * gives the message to the queue and answers.
 */
#ifndef GREENARROW_SERVICE_INTAKE_H
#define GREENARROW_SERVICE_INTAKE_H

#include <greenarrow/run.h>
#include <greenarrow/service/spool.h>

GA_BEGIN

#define GA_INTAKE_SERVICE "intake"
#define GA_INTAKE_VERSION 1

struct ga_intake_submit {
	struct ga_txn *txn;		/* borrowed until cb; its body stays */
	struct ga_spool_upload *upload;	/* large body streamed already, or NULL; taken over.
					   With it txn->body is NULL, and the trace field is
					   its head already: counted in txn->header_size */
	struct ga_str trace;		/* our Received field with its CRLF, goes on top;
					   empty with an upload */
	const struct ga_spool_end *ends;	/* finished in the same atomic group */
	uint32_t nends;
	/* result */
	enum ga_verdict verdict;	/* ACCEPT: it is on stable storage (or discarded,
					   as a module asked); TEMPFAIL, REJECT: see reply */
	bool discarded;			/* ACCEPT, but as a module asked nothing was committed:
					   neither the message nor ends */
	struct ga_reply reply;
	void (*cb)(struct ga_worker *, struct ga_intake_submit *);
	void *arg;
	void *private_;
};

struct ga_intake {
	uint32_t size, version;
	/* A message-id whose home is this loop; kept reserved until submit or release. */
	uint32_t (*reserve_id)(struct ga_worker *);
	void (*release_id)(struct ga_worker *, uint32_t id);
	/* 0, or an errno: ENOSPC → 452 4.3.1 at MAIL (octets: SIZE=, 0 = unknown). */
	int (*room)(uint64_t octets);
	/* On a loop; txn->id is reserved (or 0: drawn here).  Exactly one cb on that
	 * loop, never inside the call. */
	void (*submit)(struct ga_worker *, struct ga_intake_submit *);
};

GA_END

#endif
