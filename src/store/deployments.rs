//! What was permitted to roll out, and how far it came: from it the incumbent is known.

use rusqlite::{Connection, Row, named_params};

use super::codec::{
    application, from_json, from_text, json, maybe_from_text, maybe_json, maybe_text, plain, text,
};
use super::fault::{Error, Fault};
use super::log::collect;
use super::rows::DeploymentRow;
use super::{MAX_ROWS, Store, capped};
use crate::names::{Component, DecisionId, EnvironmentName};

const READ: &str = "read deployments";

impl Store {
    /// Stores how far one application of one decision has come. News that is older than what is
    /// stored (`permitted` for a deployment that runs, either for one that ended) changes nothing.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Closed`], [`Error::ReadOnly`] or [`Error::Failed`]; nothing was
    /// stored then.
    pub async fn upsert_deployment(&self, deployment: DeploymentRow) -> Result<(), Error> {
        self.write("store a deployment", move |db| upsert(db, &deployment))
            .await
    }

    /// The newest `limit` deployments of `component` in `environment`, newest first by when they
    /// were permitted.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Unreadable`] or [`Error::Closed`].
    pub async fn deployments(
        &self,
        environment: &EnvironmentName,
        component: &Component,
        limit: u32,
    ) -> Result<Vec<DeploymentRow>, Error> {
        let (environment, component) = (environment.to_string(), component.to_string());
        self.read(READ, move |db| {
            let mut query = db.prepare_cached(
                "SELECT * FROM deployment WHERE environment = ?1 AND component = ?2
                 ORDER BY seq DESC LIMIT ?3",
            )?;
            collect(
                query.query((environment, component, capped(limit)))?,
                deployment_of,
            )
        })
        .await
    }

    /// The newest `limit` deployments of the Application object `uid`, newest first.
    ///
    /// # Errors
    /// As [`deployments`](Self::deployments).
    pub async fn deployments_of(&self, uid: &str, limit: u32) -> Result<Vec<DeploymentRow>, Error> {
        let uid = uid.to_owned();
        self.read(READ, move |db| {
            let sql = "SELECT * FROM deployment WHERE uid = ?1 ORDER BY seq DESC LIMIT ?2";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query((uid, capped(limit)))?, deployment_of)
        })
        .await
    }

    /// What `decision` permitted to roll out of the Application object `uid`, if it did.
    ///
    /// # Errors
    /// As [`deployments`](Self::deployments).
    pub async fn deployment(
        &self,
        decision: DecisionId,
        uid: &str,
    ) -> Result<Option<DeploymentRow>, Error> {
        let key = (decision.to_string(), uid.to_owned());
        self.read(READ, move |db| {
            let sql = "SELECT * FROM deployment WHERE decision = ?1 AND uid = ?2";
            let mut query = db.prepare_cached(sql)?;
            Ok(collect(query.query(key)?, deployment_of)?.pop())
        })
        .await
    }

    /// Deployments that are permitted or running, oldest first, at most [`MAX_ROWS`].
    ///
    /// # Errors
    /// As [`deployments`](Self::deployments).
    pub async fn pending_deployments(&self) -> Result<Vec<DeploymentRow>, Error> {
        self.read(READ, |db| {
            let mut query = db.prepare_cached(
                "SELECT * FROM deployment WHERE state IN ('permitted', 'running')
                 ORDER BY seq LIMIT ?1",
            )?;
            collect(query.query([MAX_ROWS])?, deployment_of)
        })
        .await
    }
}

fn upsert(db: &Connection, deployment: &DeploymentRow) -> Result<(), Fault> {
    let mut upsert = db.prepare_cached(
        "INSERT INTO deployment (decision, application, application_namespace, uid, environment,
             component, commits, source_digest, started_at, state, ran)
         VALUES (:decision, :application, :application_namespace, :uid, :environment,
             :component, :commits, :source_digest, :started_at, :state, :ran)
         ON CONFLICT (decision, application, application_namespace) DO UPDATE SET
             started_at = coalesce(excluded.started_at, started_at),
             ran = coalesce(excluded.ran, ran),
             state = excluded.state
         WHERE CASE state WHEN 'permitted' THEN 0 WHEN 'running' THEN 1 ELSE 2 END
            <= CASE excluded.state WHEN 'permitted' THEN 0 WHEN 'running' THEN 1 ELSE 2 END",
    )?;
    let application = &deployment.application;
    upsert.execute(named_params! {
        ":decision": deployment.decision.to_string(),
        ":application": application.name,
        ":application_namespace": application.namespace.as_deref().unwrap_or_default(),
        ":uid": deployment.uid,
        ":environment": deployment.environment.as_str(),
        ":component": deployment.component.as_str(),
        ":commits": json("commits", &deployment.commits)?,
        ":source_digest": deployment.source_digest.as_str(),
        ":started_at": maybe_text("started_at", deployment.started_at.as_ref())?,
        ":state": text("state", &deployment.state)?,
        ":ran": deployment.ran.as_ref().map(|ran| json("ran", ran)).transpose()?,
    })?;
    Ok(())
}

fn deployment_of(row: &Row<'_>) -> Result<DeploymentRow, Fault> {
    Ok(DeploymentRow {
        decision: from_text(row, "decision")?,
        application: application(row)?,
        uid: plain(row, "uid")?,
        environment: from_text(row, "environment")?,
        component: from_text(row, "component")?,
        commits: from_json(row, "commits")?,
        source_digest: from_text(row, "source_digest")?,
        started_at: maybe_from_text(row, "started_at")?,
        state: from_text(row, "state")?,
        ran: maybe_json(row, "ran")?,
    })
}
