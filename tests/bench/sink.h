/*
 * sink.h - what the files of ga_smtp_sink share.
 *
 * One process, one loop, no threads.  struct sink is the whole state of the
 * program; a struct sink_session is one SMTP session.
 */
#ifndef BENCH_SINK_H
#define BENCH_SINK_H

#include <ev.h>
#include <gnutls/gnutls.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <uthash.h>

#include "opt.h"
#include "wire.h"

/* Points of a session where a reply can be delayed or replaced. */
enum sink_stage { STAGE_CONNECT, STAGE_EHLO, STAGE_MAIL, STAGE_RCPT, STAGE_DATA, STAGE_EOM, STAGES };

struct sink_options {
	struct opt_list listen;
	const char *hostname;
	uint64_t max_size, max_connections;
	const char *tls_cert, *tls_key;
	bool no_pipelining;
	uint64_t delay_us, defer_percent, fail_percent;
	const char *delay_at, *reply_at, *defer_reply, *fail_reply;
	const char *ids_log, *dump;
	uint64_t exit_after;
	bool json;
};

struct sink_listener {
	ev_io io;
	int fd;
	char name[WIRE_ADDR_TEXT];
	uint64_t connections, messages;
};

/* What came from one client address. */
struct sink_client {
	char name[WIRE_ADDR_TEXT];
	uint64_t connections, open, peak, messages;
	UT_hash_handle hh;
};

struct sink_counts {
	uint64_t connections, open, peak, refused, tls;
	uint64_t messages, recipients, bytes;
	uint64_t deferred, failed, oversized, aborted, bad_commands;
	uint64_t most_a_connection;
	uint64_t start_us, first_us, last_us;
	uint64_t replies[STAGES];	/* how often a stage drew its reply: for fixed shares */
};

struct sink {
	struct sink_options opt;
	enum sink_stage delay_at, reply_at;
	struct sink_counts n;
	struct sink_listener *listener;
	size_t listeners;
	struct sink_client *clients;
	uint32_t *second;	/* messages accepted in each second since the start */
	size_t seconds;
	gnutls_certificate_credentials_t cred;
	int ids_fd;
};

/*
 * The content of a message on its way in.  Without --dump only the beginning is
 * kept, enough to find the id in the header.
 */
#define SINK_HEAD_KEPT 8192
enum data_state { DATA_LINE_START, DATA_DOT, DATA_DOT_CR, DATA_MID_LINE, DATA_CR };
struct sink_data {
	enum data_state state;
	uint64_t size;		/* after removal of the stuffed dots */
	bool keep_all;
	unsigned char *kept;
	size_t kept_len, kept_cap;
};

/*
 * Take in bytes up to the end of the message.  Returns how many of them belong
 * to it; *ended says that CRLF.CRLF was the last of them.
 */
void sink_data_begin(struct sink_data *, bool keep_all);
size_t sink_data_feed(struct sink_data *, const unsigned char *, size_t, bool *ended);
void sink_data_free(struct sink_data *);
/* The value of X-Bench-Id, or "-"; at most size-1 bytes are copied. */
void sink_data_id(const struct sink_data *, char *id, size_t size);

/* Recipients of the open transaction, NUL-separated in one buffer. */
struct sink_rcpts {
	char *text;
	size_t len, cap;
	uint64_t count;
};

struct sink_session {
	struct wire w;
	struct sink *sink;
	struct sink_listener *listener;
	struct sink_client *client;
	char peer[WIRE_ADDR_TEXT];
	bool in_data, held, esmtp, have_mail, quitting;
	ev_timer timer;
	void (*after_hold)(struct sink_session *);
	char *helo, *mail;	/* arguments as they came */
	const char *arg;	/* of the command in work */
	uint64_t messages;
	struct sink_rcpts rcpts;
	struct sink_data data;
};

/* sink_session.c: take over an accepted socket. */
void sink_session_start(struct sink *, struct sink_listener *, int fd, const struct sockaddr *);

/* sink_store.c: what is kept of an accepted message, before its 250 is sent. */
void sink_store(struct sink_session *);
void sink_store_open(struct sink *);

/* sink_report.c */
void sink_report(struct sink *, FILE *);

#endif
