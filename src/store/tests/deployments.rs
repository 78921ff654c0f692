//! Deployments.

use super::*;

fn deployment(decision: DecisionId, state: DeploymentState) -> DeploymentRow {
    DeploymentRow {
        decision,
        application: app("checkout-prod"),
        uid: "uid-1".into(),
        environment: environment("prod"),
        component: component("checkout"),
        commits: vec![commit('a')],
        source_digest: digest('1'),
        started_at: None,
        state,
        ran: None,
    }
}

#[tokio::test]
async fn a_deployment_moves_forward_and_keeps_when_it_began() {
    let folder = Folder::new();
    let store = folder.open();
    let one = decision();
    let began = Some(instant("2026-11-23T12:00:00Z"));
    let permitted = deployment(one, DeploymentState::Permitted);
    let running = DeploymentRow {
        started_at: began,
        ..deployment(one, DeploymentState::Running)
    };
    let succeeded = deployment(one, DeploymentState::Succeeded);
    let failed = deployment(one, DeploymentState::Failed);
    for (news, expected) in [
        (&permitted, DeploymentState::Permitted),
        (&running, DeploymentState::Running),
        (&permitted, DeploymentState::Running),
        (&succeeded, DeploymentState::Succeeded),
        (&running, DeploymentState::Succeeded),
        (&failed, DeploymentState::Failed),
    ] {
        store.upsert_deployment(news.clone()).await.unwrap();
        let stored = store
            .deployments(&environment("prod"), &component("checkout"), 10)
            .await
            .unwrap();
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].state, expected, "after {news:?}");
    }
    let stored = store
        .deployments(&environment("prod"), &component("checkout"), 10)
        .await
        .unwrap();
    assert_eq!(
        stored[0],
        DeploymentRow {
            started_at: began,
            ..failed
        }
    );
}

#[tokio::test]
async fn deployments_are_listed_newest_first_and_pending_ones_by_themselves() {
    let folder = Folder::new();
    let store = folder.open();
    let (old, new, other) = (decision(), decision(), decision());
    store
        .upsert_deployment(deployment(old, DeploymentState::Succeeded))
        .await
        .unwrap();
    store
        .upsert_deployment(deployment(new, DeploymentState::Running))
        .await
        .unwrap();
    let elsewhere = DeploymentRow {
        environment: environment("staging"),
        ..deployment(other, DeploymentState::Permitted)
    };
    store.upsert_deployment(elsewhere).await.unwrap();
    let decisions = |rows: Vec<DeploymentRow>| -> Vec<DecisionId> {
        rows.iter().map(|row| row.decision).collect()
    };
    let (prod, checkout) = (environment("prod"), component("checkout"));
    let listed = store.deployments(&prod, &checkout, 10).await.unwrap();
    assert_eq!(decisions(listed), [new, old]);
    let newest = store.deployments(&prod, &checkout, 1).await.unwrap();
    assert_eq!(decisions(newest), [new]);
    assert_eq!(
        decisions(store.pending_deployments().await.unwrap()),
        [new, other]
    );
}
