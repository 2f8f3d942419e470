/*
 * base64.c - see base64.h.
 *
 * GnuTLS does the work.  It is lenient (it skips blanks and line ends), and SASL is not
 * (RFC 4954 4): only what comes out again as it was is taken.  What passes here are
 * passwords: copies are wiped.
 */
#include <string.h>

#include <gnutls/gnutls.h>

#include "base64.h"

static gnutls_datum_t
datum(const void *p, size_t n)
{
	return (gnutls_datum_t){ (unsigned char *)(uintptr_t)p, (unsigned)n };
}

static void
wipe(gnutls_datum_t *d)
{
	if (d->data != NULL)
		gnutls_memset(d->data, 0, d->size);
	gnutls_free(d->data);
}

bool
smtpd_base64_decode(struct ga_str text, unsigned char *out, size_t *n)
{
	gnutls_datum_t in = datum(text.p, text.n), octets = { NULL, 0 }, again = { NULL, 0 };
	bool good;

	*n = 0;
	if (text.n == 0)
		return true;
	good = gnutls_base64_decode2(&in, &octets) >= 0 && gnutls_base64_encode2(&octets, &again) >= 0 &&
	    again.size == text.n && gnutls_memcmp(again.data, text.p, text.n) == 0;
	if (good) {
		memcpy(out, octets.data, octets.size);
		*n = octets.size;
	}
	wipe(&octets);
	wipe(&again);
	return good;
}

size_t
smtpd_base64_encode(const unsigned char *p, size_t n, char *out)
{
	gnutls_datum_t in = datum(p, n), text = { NULL, 0 };
	size_t size = 0;

	if (n > 0 && gnutls_base64_encode2(&in, &text) >= 0) {
		memcpy(out, text.data, text.size);
		size = text.size;
	}
	wipe(&text);
	return size;
}
