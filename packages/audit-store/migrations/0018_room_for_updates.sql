-- A run's row changes with each batch that holds something of it, as do the mark of its chain and the sums of a day.
-- With room on its page the new version of a row stays there, and no index has to be told of it.
alter table runs set (fillfactor = 50);
alter table checkpoint_due set (fillfactor = 50);
alter table daily_costs set (fillfactor = 50);
