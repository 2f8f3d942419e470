/*
 * content.h - what content_run.c and injection.c need of content.c.
 */
#ifndef CORE_MODULE_CONTENT_H
#define CORE_MODULE_CONTENT_H

#include <greenarrow/run.h>

/* Makes field i the one that ga_header_set() and _drop() mean; value is unfolded. */
bool gac_content_field(struct ga_content *, size_t i, struct ga_str *name, struct ga_str *value);
/* Field i as it stands, with its CRLF; empty: there is none.  Fields follow each other from the
 * first octet of the header on. */
struct ga_str gac_content_raw(const struct ga_content *, size_t i);
bool gac_content_field_dropped(const struct ga_content *);
/* Takes the reference of body: what stands below the header from now on. */
void gac_content_replace(struct ga_content *, struct ga_body *body);
/* CRLF line ends only, no NUL: fit for the wire. */
bool gac_wire_text(struct ga_str);

#endif
