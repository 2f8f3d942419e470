/*
 * scan.h - the text of a message: where it ends, what is in it.
 *
 * Pure: no session, no I/O.  Fed as octets come, cut anywhere; gives the message
 * back without dot-stuffing through emit(), in runs as long as the input allows.
 */
#ifndef SMTPD_SCAN_H
#define SMTPD_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A text line without its CRLF (RFC 5321 4.5.3.1.6). */
#define SMTPD_TEXT_LINE 998u

/* How the message comes. */
enum smtpd_scan_how {
	SCAN_DOTTED,		/* DATA: dot-stuffed, ended by CRLF.CRLF */
	SCAN_COUNTED,		/* BDAT: a dot is a dot, the end is the caller's to know */
	SCAN_BINARY		/* BDAT of a BINARYMIME message: text is its header alone */
};

/* What came before the next octet. */
enum smtpd_scan_at {
	SCAN_LINE,		/* CRLF, or nothing: here a dot means something */
	SCAN_DOT,		/* CRLF . */
	SCAN_DOT_CR,		/* CRLF . CR */
	SCAN_TEXT,		/* octets of a line */
	SCAN_CR,		/* ... and a CR not yet given out */
	SCAN_SOFT,		/* a CR or LF alone: a line to old applications, no end of data */
	SCAN_SOFT_DOT
};

typedef void smtpd_emit_fn(void *arg, const char *, size_t);

struct smtpd_scan {
	smtpd_emit_fn *emit;
	void *arg;
	enum smtpd_scan_how how;
	enum smtpd_scan_at at;
	bool normalize;		/* a CR or LF alone is given out as CRLF */
	/* found so far */
	bool in_header;
	bool bare_cr, bare_lf, nul, eightbit, long_line;
	bool eightbit_header;	/* eightbit, and in the header */
	uint32_t received;	/* Received fields in the header */
	uint64_t size;		/* octets given out */
	uint64_t header_size;	/* up to and with the empty line; once !in_header */
	/* the line being read */
	uint64_t line_len;
	uint32_t name_len;	/* octets of it that are "received:" so far */
};

void smtpd_scan_init(struct smtpd_scan *, enum smtpd_scan_how, bool normalize, smtpd_emit_fn *,
    void *arg);
/* Returns the octets used: n, or fewer when *end was set by CRLF.CRLF, which is
 * used and not given out.  *end is set for SCAN_DOTTED only. */
size_t smtpd_scan_feed(struct smtpd_scan *, const char *, size_t n, bool *end);
/* The end of what was counted.  A header that ends in the middle of a line gets the
 * CRLF it lacks, for a header is made of lines; a body is left as it came. */
void smtpd_scan_end(struct smtpd_scan *);

#endif
