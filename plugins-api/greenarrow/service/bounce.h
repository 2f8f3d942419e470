/*
 * bounce.h - service "bounce": the sender is told what became of a message.  Level
 * strict.
 *
 * Who calls: the queue, on the message's loop, when envelopes have failed, were
 * delivered to a host that does not report (RFC 3461 5.2.2), or wait too long.
 * Who provides: module bounce, with reports as RFC 3464 describes them.  Without a
 * provider failed envelopes are kept, marked, until there is one.
 */
#ifndef GREENARROW_SERVICE_BOUNCE_H
#define GREENARROW_SERVICE_BOUNCE_H

#include <greenarrow/conf.h>
#include <greenarrow/loop.h>

GA_BEGIN

#define GA_BOUNCE_SERVICE "bounce"
#define GA_BOUNCE_VERSION 1

enum ga_report_kind {
	GA_REPORT_FAILED,	/* Action: failed; the envelopes end with it */
	GA_REPORT_RELAYED,	/* Action: relayed; likewise */
	GA_REPORT_DELAYED	/* Action: delayed; the envelopes go on waiting */
};

/* What is to be told of one message.  The caller's memory, which belongs to the
 * service from report() to cb. */
struct ga_report {
	enum ga_report_kind kind;
	uint64_t seq;			/* of the message, in the spool */
	const uint32_t *envelopes;	/* their indexes in the message, */
	unsigned n;			/* 1..GA_REPORT_MAX of them */
	uint64_t expires_ms;		/* DELAYED: tried until then (wall clock) */
	/* result: 0: all is told that is to be told; FAILED and RELAYED: and the end of the
	 * envelopes is on stable storage, in one group with the report.  Else a positive errno:
	 * nothing has changed, try again later. */
	int error;
	void (*cb)(struct ga_worker *, struct ga_report *);
	void *arg;
};
#define GA_REPORT_MAX 500

struct ga_bounce {
	uint32_t size, version;
	/* On a worker loop; one cb on it, never inside the call.  When the loops end before
	 * that there is none, and the next start finds the envelopes as they are. */
	void (*report)(struct ga_worker *, struct ga_report *);
	/* The age at which a delay is to be told once, ms; 0: never.  requested: some
	 * recipient has NOTIFY=DELAY.  Whether a success is reported without having been
	 * asked for.  Any thread. */
	uint64_t (*delay_after)(const struct ga_settings *, bool requested);
	bool (*success)(const struct ga_settings *);
};

GA_END

#endif
