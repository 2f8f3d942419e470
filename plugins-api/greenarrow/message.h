/*
 * message.h - a message in the queue: attributes, envelopes, body.  Level strict.
 *
 * Words (RFC 5598, OpenSMTPD): a message is what one DATA brought; an envelope
 * is one recipient of it.  message-id: 32 bits, unique among live messages,
 * printed %08x.  envelope-id: 64 bits = message-id << 32 | random, %016x.
 * A message's home loop is message-id mod ga_worker_count().
 *
 * struct ga_message is immutable once committed and reference counted with an
 * atomic, so that loops may share it.
 */
#ifndef GREENARROW_MESSAGE_H
#define GREENARROW_MESSAGE_H

#include <greenarrow/ga_mem.h>

GA_BEGIN

/*
 * Attributes: a packed list, stored in the spool as it is.  Layout, repeated:
 * u16 key, u32 length (both little endian), length bytes.  Keys below are
 * append-only; a reader skips keys that it does not know.
 */
enum ga_attr {
	/* of a message */
	GA_ATTR_SENDER = 1,		/* reverse-path without <>; empty = null */
	GA_ATTR_VIRTUAL_MTA = 2,	/* name; absent = default_virtual_mta */
	GA_ATTR_MAIL_CLASS = 3,
	GA_ATTR_SEND_ID = 4,
	GA_ATTR_LIST_ID = 5,
	GA_ATTR_INSTANCE_ID = 6,
	GA_ATTR_CLICK_TRACKING_ID = 7,
	GA_ATTR_CLIENT_ADDR = 8,	/* text, "192.0.2.1" */
	GA_ATTR_CLIENT_FAMILY = 9,	/* "inet4" "inet6" "local" */
	GA_ATTR_SERVICE = 10,		/* smtp_service it came through */
	GA_ATTR_RET = 11,		/* DSN RET= FULL | HDRS */
	GA_ATTR_ENVID = 12,		/* DSN ENVID=, xtext decoded */
	GA_ATTR_FLAGS = 13,		/* u32, enum ga_msg_flag */
	GA_ATTR_MSGUID = 14,		/* "<unix seconds>.<8 digits>" */
	GA_ATTR_FIRST_BYTES = 15,	/* of the header, for listings */
	GA_ATTR_AUTH_USER = 16,
	GA_ATTR_BOUNCE_OF = 17,		/* u64 envelope-id this is a bounce of */
	GA_ATTR_NOTE = 18,		/* a module's note: key NUL value; repeats */
	GA_ATTR_HEADER_SIZE = 19,	/* u32 octets up to and with the empty line */
	GA_ATTR_FROM_DOMAIN = 20,	/* domain of the first address of the From field, lower
					   case, A-label; absent: it has none */
	GA_ATTR_FROM_ADDRESS = 21,	/* that address, without its name; absent: it has none */
	/* of an envelope */
	GA_ATTR_RECIPIENT = 64,		/* forward-path without <> */
	GA_ATTR_ORCPT = 65,
	GA_ATTR_NOTIFY = 66,		/* u32 bits, enum ga_notify */
	GA_ATTR_LAST_REPLY = 67,	/* "550 5.1.1 ..." with LF between lines */
	GA_ATTR_RCPT_VIRTUAL_MTA = 68,	/* most recent one, if other than the message's */
	GA_ATTR_LAST_STATUS = 69,	/* RFC 3463 code of the last attempt, "5.1.1" */
	GA_ATTR_LAST_MX = 70,		/* name of the host whose reply LAST_REPLY is; absent:
					   no host said it */
	GA_ATTR_LAST_ATTEMPT = 71	/* u64 wall clock ms */
};

enum ga_msg_flag {
	GA_MSG_8BIT = 1,		/* body or header has octets >= 0x80 */
	GA_MSG_BODY_8BITMIME = 2,	/* declared BODY=8BITMIME */
	GA_MSG_BINARYMIME = 4,
	GA_MSG_SMTPUTF8 = 8,		/* declared SMTPUTF8 */
	GA_MSG_REQUIRETLS = 16,		/* declared REQUIRETLS (RFC 8689) */
	GA_MSG_BOUNCE = 32,		/* generated here: queue state "bounce" */
	GA_MSG_LONG_LINES = 64,		/* a line over 998 octets */
	GA_MSG_NO_FSYNC = 128,		/* taken with queue_fsync no */
	GA_MSG_8BIT_HEADER = 256	/* the header has octets >= 0x80 */
};

enum ga_notify { GA_NOTIFY_NEVER = 1, GA_NOTIFY_SUCCESS = 2, GA_NOTIFY_FAILURE = 4,
	GA_NOTIFY_DELAY = 8 };

/* Building: a growing buffer; free with ga_attrs_free() or hand p/n over. */
struct ga_attrs {
	char *p;
	size_t n, room;
};
GA_EXPORT void ga_attrs_put(struct ga_attrs *, unsigned key, struct ga_str value);
GA_EXPORT void ga_attrs_put_u32(struct ga_attrs *, unsigned key, uint32_t);
GA_EXPORT void ga_attrs_put_u64(struct ga_attrs *, unsigned key, uint64_t);
GA_EXPORT void ga_attrs_free(struct ga_attrs *);
/* Reading: first value of the key; false (and *v empty) if absent.  Malformed
 * lists are treated as ending there. */
GA_EXPORT bool ga_attr_get(struct ga_str attrs, unsigned key, struct ga_str *v);
GA_EXPORT uint32_t ga_attr_u32(struct ga_str attrs, unsigned key, uint32_t absent);
GA_EXPORT uint64_t ga_attr_u64(struct ga_str attrs, unsigned key, uint64_t absent);
/* Walk: *pos 0 at first; false at the end. */
GA_EXPORT bool ga_attr_next(struct ga_str attrs, size_t *pos, unsigned *key, struct ga_str *v);
/* True when the whole list is well formed. */
GA_EXPORT bool ga_attrs_valid(struct ga_str attrs);

/*
 * A body: the octets after DATA as they go on the wire, CRLF line ends, not
 * dot-stuffed, header included (our Received line is its beginning).  Immutable,
 * shared by atomic reference count.  Chunks lie in memory; a body that was too
 * large for that has chunks == NULL and is read piece by piece from the spool.
 * The memory of all bodies is counted; the limit is `queue_memory`.  A message
 * of up to 5 KB is one allocation, one of 50 KB three.
 */
struct ga_body_chunk {
	struct ga_body_chunk *next;
	size_t n, room;			/* octets in data, and what it can hold */
	char data[GA_FLEXIBLE];
};
struct ga_body {
	uint32_t refs;				/* atomic */
	uint32_t nchunks;
	uint64_t size;				/* octets in all */
	struct ga_body_chunk *chunks, *last;	/* NULL: only in the spool */
};
GA_EXPORT struct ga_body *ga_body_new(void) GA_NODISCARD;
/* A body that is in the spool only. */
GA_EXPORT struct ga_body *ga_body_new_spooled(uint64_t size) GA_NODISCARD;
/* Copies the bytes in.  Only before the body is shared; one thread. */
GA_EXPORT void ga_body_append(struct ga_body *, const void *, size_t);
/* Puts bytes before all others (trace header). */
GA_EXPORT void ga_body_prepend(struct ga_body *, const void *, size_t);
/* Takes n ranges of octets out.  Their offsets are those of the body as it is before; they
 * ascend, do not overlap, and are there.  Only before the body is shared; the other octets
 * keep their order, and each is moved once, within its chunk. */
struct ga_body_range {
	uint64_t at, n;
};
GA_EXPORT void ga_body_cut(struct ga_body *, const struct ga_body_range *, size_t n);
/* Room of at least `want` octets at the end, to read into; then say how many
 * of them were used.  Avoids a copy on the hot path. */
GA_EXPORT char *ga_body_room(struct ga_body *, size_t want, size_t *room);
GA_EXPORT void ga_body_used(struct ga_body *, size_t n);
GA_EXPORT struct ga_body *ga_body_ref(struct ga_body *);
GA_EXPORT void ga_body_unref(struct ga_body *);	/* any thread */
/* All octets in one new string in the pool (small bodies, tests, header work). */
GA_EXPORT struct ga_str ga_body_flat(const struct ga_body *, struct ga_pool *);
/* Octets that bodies take in memory now, the limit (0: none), and whether reception
 * should pause.  Any thread. */
GA_EXPORT uint64_t ga_body_memory(void);
GA_EXPORT void ga_body_memory_limit(uint64_t);
GA_EXPORT bool ga_body_memory_full(void);

struct ga_envelope {
	uint32_t random;		/* low half of the envelope-id */
	uint32_t index;			/* position in the message */
	struct ga_str attrs;		/* GA_ATTR_RECIPIENT ... */
	struct ga_str recipient;	/* points into attrs */
	struct ga_str domain;		/* after the last unquoted @, lower case, A-label;
					   points into the message's memory */
	/* state, as last recorded; meaningful when read from the spool */
	uint32_t attempts;
	uint32_t flags;			/* enum ga_env_flag */
	uint64_t next_ms;		/* wall clock, 0 = at once */
};
enum ga_env_flag {
	GA_ENV_DONE = 1,		/* finished; skip */
	GA_ENV_FAILED = 2,		/* failed for good, kept until a bounce is made */
	GA_ENV_SUSPENDED = 4,		/* paused by the operator */
	GA_ENV_EXPIRED = 8,		/* failed because its lifetime ended */
	GA_ENV_RELAYED = 16,		/* delivered; kept until that has been reported */
	GA_ENV_DELAY_TOLD = 32		/* its delay has been reported, or need not be */
};

struct ga_message {
	uint32_t refs;			/* atomic */
	uint32_t id;			/* message-id */
	uint64_t seq;			/* the spool's name for it; never used twice */
	uint64_t accepted_ms;		/* wall clock */
	uint32_t flags;			/* enum ga_msg_flag */
	uint32_t nenvelopes;
	struct ga_str attrs;
	struct ga_str sender, virtual_mta;	/* point into attrs */
	struct ga_body *body;		/* may be NULL: not loaded */
	uint64_t body_size;
	struct ga_envelope *envelopes;
};

/*
 * A message with one reference, everything copied.  envelope_attrs: n packed
 * lists, each with GA_ATTR_RECIPIENT.  random halves are drawn here, unique in
 * the message, unless randoms is given.  body's reference is taken over (may be NULL).
 * The domain of a recipient that is no address is empty, as that of <postmaster>.
 */
GA_EXPORT struct ga_message *ga_message_new(uint32_t id, uint64_t accepted_ms,
    struct ga_str attrs, const struct ga_str *envelope_attrs, const uint32_t *randoms,
    size_t n, struct ga_body *body) GA_NODISCARD;
GA_EXPORT struct ga_message *ga_message_ref(struct ga_message *);
GA_EXPORT void ga_message_unref(struct ga_message *);	/* any thread */

#define GA_ENVELOPE_ID(m, e) (((uint64_t)(m)->id << 32) | (e)->random)

GA_END

#endif
