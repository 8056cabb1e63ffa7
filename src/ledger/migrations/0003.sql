-- brings the traces of dead letters

alter table forebay.dead_letters add column traceparent text;
comment on column forebay.dead_letters.traceparent is 'The W3C trace context its event was written under, where it had one.';
