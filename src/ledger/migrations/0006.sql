-- brings the times of the events of dead letters

alter table forebay.dead_letters add column event_ms bigint;
comment on column forebay.dead_letters.event_ms is 'The time of its event''s record, in milliseconds since 1970. A redrive takes no event of another time for it.';
